"""What ``frbench`` and each verb print for ``--help``. Text alone, so that help answers at once."""

from __future__ import annotations

MAIN = """\
usage: frbench VERB [arguments]

This attack, with this goal and budget, through this view, against this recognizer behind this defense, on these faces.

  run     [overrides]           one cell, or a sweep with -m or experiment=NAME
  fit     [overrides]           train a recognizer (training=NAME), or fit a defense ahead of a sweep
  report  [overrides]           tables and figures from the recorded runs; format=json prints the records
  data    list|prepare|verify   what is there, download or convert, check digests
  serve   [overrides]           a recognizer, with or without a defense, as a local HTTP service
  cloak   FOLDER [overrides]    the faces in your own photos, cloaked in copies beside them
  options [GROUP|GROUP=NAME]    the options of each group, such as attack; what can be set of one, such as attack=pgd

frbench VERB --help says more of each.

Try it:  frbench run -m attack=fgsm,pgd goal=dodging,impersonation defense=none,jpeg
Then:    frbench report
"""

_OVERRIDES = """\
  --config-dir=FOLDER    options of your own: FOLDER/attack/NAME.yaml is attack=NAME; name their package in trust=[...]
  --cfg=job              print the whole configuration, also of each cell of a sweep, and run nothing

Text with a special character (=, comma, brackets) must be quoted twice, for frbench and for the shell:
  'paths.results="/data/run=3"'
"""

RUN = f"""\
usage: frbench run [overrides]

Attack a recognizer behind a defense and record how often the attack succeeds. Without overrides: PGD at 8/255 against
the small recognizer that is shipped, on rendered faces; it needs no data and takes less than a minute.

  dataset=lfw  recognizer=foamliu_mobilefacenet  attack=pgd  goal=dodging  budget=linf_8  threat=adaptive  defense=jpeg
                         choose an option of each group; frbench options GROUP says what each is
  attack.steps=100       set a field of an option; frbench options attack=pgd lists them
  -m attack=fgsm,pgd     a sweep over all combinations of values separated by commas
  experiment=demo        a sweep that is shipped; see frbench options experiment
  dataset.limit=200      attack so many pairs alone; all pairs still set the threshold
  seed=0  device=auto  batch_size=64
  fetch=true             download a missing data set or weight file that has a public source
  trust=[my_package]     a package, besides frbench, whose classes options may name
  allow_overlap=true     go on where a defense was fitted on people of the test set; the record is flagged
  paths.data=FOLDER  paths.results=FOLDER  paths.cache=FOLDER
                         faces and weights; records and reports; decoded images
{_OVERRIDES}
Each cell prints one line: options, clean accuracy, ASR with its interval and denominator, and flags to explain first.
A sweep can be killed at any moment; the same command goes on where it stopped. Then: frbench report
Exit code: 0 done, 1 a cell crashed, 2 bad input, 130 interrupted.
"""

FIT = f"""\
usage: frbench fit [overrides]

Train a recognizer, or fit a defense before a sweep needs it. frbench run fits by itself what is missing.

  training=single out=FILE.safetensors    train a recognizer; see frbench options training
  training=NAME network@training.network=tiny
                                          the network to train; see frbench options network
  defense=pin                             fit a defense instead, for the recognizer and seed that a run will name
  identities=celeba                       the faces to learn from: other people than those of the test set
  fit_seed=0  device=auto
{_OVERRIDES}
A training that is killed goes on where it was. In the end it prints how to use what was made.
"""

REPORT = """\
usage: frbench report [overrides]

Write tables (Markdown, LaTeX, CSV) and figures of all recorded cells. Start with results/tables/report.md.

  format=json                  print the records as JSON lines instead
  paths.results=FOLDER         where the records are
  out=FOLDER                   where tables/ and figures/ are written, if not there
  where.attack=pgd             only these records; a list takes any of its values: 'where.attack=[pgd,mifgsm]'
                               also where.dataset recognizer protocol goal threat surrogate budget defense
  where.status=crashed         done, refused or crashed
  where.flag=not_converged      records with this flag
  +where.settings.seed=1       what a run changed of its options
  top=1                        pairs of each cell in the picture grids
"""

SERVE = f"""\
usage: frbench serve [overrides]

A recognizer, with or without a defense before it, as an HTTP service that compares two aligned 112x112 faces. It runs
until interrupted. It asks nobody who they are: leave it at 127.0.0.1 unless you know why not.

  recognizer=tiny  defense=none   what to serve; see frbench options recognizer
  server.host=127.0.0.1  server.port=8008
  server.threshold=0.3            similarities above it answer "match": true; null for similarities alone
  server.max_bytes=2097152        largest picture file
  server.max_batch=32  server.wait_ms=2
                                  questions answered together, and how long the first of them waits for others
  identities=celeba  fit_seed=0   for a defense that is fitted, as in frbench run
  device=auto  seed=0             the seed is of a random defense
{_OVERRIDES}
Ask it:  curl -F probe=@one.png -F reference=@other.png http://127.0.0.1:8008/compare
Attack it:  frbench run recognizer=service threat=query attack=square dataset.limit=20
"""

CLOAK = """\
usage: frbench cloak FOLDER [overrides]

Every face in the photos of FOLDER, or in the one photo named, is cloaked, so that a tracker who learns from the copies
does not know the natural face. NAME.jpg becomes NAME_cloaked.jpg beside it; jpg, jpeg, png, webp and bmp stay what they
are. No file is overwritten: a photo that has its copy is left alone, so the same command goes on after a kill.

  out=OTHER_FOLDER       copies go there
  recursive=true         photos in the folders inside too
  quality=95             of JPEG and WebP copies
  suffix=_cloaked        what the name of a copy has more
  attack=fawkes          or lowkey_proxy_lpips, or one within a budget: attack=pgd budget=linf_8;
                         attack.NAME=VALUE sets an option of the attack
  recognizer=foamliu_mobilefacenet
                         what the cloak is made on: one whose gradients can be had, or an ensemble
  batch_size=16          faces at once; more for a GPU
  device=auto  seed=0

Copies hold no EXIF, which tells where a photo was taken and has a thumbnail of the natural face.
Exit code: 0 each photo has its copy, 1 some photo could not be done, 2 bad usage, 130 interrupted.
"""

OPTIONS = """\
usage: frbench options [GROUP | GROUP=NAME] [--config-dir=FOLDER] [trust=[my_package]]

  frbench options               every group with the names of its options
  frbench options attack        what each option of a group is, and its paper
  frbench options attack=pgd    what can be set of an option: default, type and range, meaning

--config-dir=FOLDER lists your own options too; name their package in trust=[...] to see their fields.
"""
