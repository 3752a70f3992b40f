"""Help texts of ``frbench`` and its verbs. The module imports nothing, so that help prints at once."""

from __future__ import annotations

MAIN = """\
usage: frbench VERB [arguments]

Adversarial attacks on face recognition, and defenses against them. One cell of the benchmark is: this attack, with this
goal, budget and threat model, against this recognizer behind this defense, on these faces.

  run     [overrides]           run one cell, or a sweep with -m or experiment=NAME
  plan    [overrides]           print the cells of a sweep, what is done, and an estimate of the cost; run nothing
  status  [SWEEP]               print which cells are done, running, waiting, failed or missing, and the time left
  cancel  SWEEP                 stop the workers of a sweep and cancel its jobs
  fit     [overrides]           train a recognizer (training=NAME), or fit a defense before a sweep
  craft   [overrides]           make the adversarial images of one cell ahead of its run, in shards
  report  [overrides]           write tables and figures of the recorded cells; format=html writes them to one file
  reproduce RECORD|FILE.json    run the cell of a record or run card again and compare the numbers
  export  FORMAT [overrides]    write records and pairs as SQLite or Parquet, or images as PNG
  diff    A B                   compare two recorded cells pair by pair
  compare A B [out=FILE.html]   the same on a page in one file, with a plot of the margins and pictures
  data    list|prepare|verify   list, download or align data sets and weights; check their digests
  serve   [overrides]           serve a recognizer, with or without a defense, over HTTP
  cloak   FOLDER [overrides]    make cloaked copies of your own photos
  gc      [overrides]           print, or delete, what a results folder does not need
  options [GROUP|GROUP=NAME]    list groups of options, the options of a group, or the fields of an option

For more: frbench VERB --help

Try:       frbench run -m attack=fgsm,pgd goal=dodging,impersonation defense=none,jpeg
Then:    frbench report
"""

_OVERRIDES = """\
  --config-dir=FOLDER    add your own options: FOLDER/attack/NAME.yaml is attack=NAME; list their package in trust=[...]
  --cfg=job              print the configuration of every cell and run nothing

Quote text with special characters (=, comma, brackets) twice, for frbench and for the shell:
  'paths.results="/data/run=3"'
"""

RUN = f"""\
usage: frbench run [overrides]

Attack a recognizer behind a defense and record the attack success rate. Without overrides: PGD at 8/255 against the
shipped small recognizer on rendered faces, which needs no data. dataset.limit=40 takes less than a minute.

  dataset=lfw  recognizer=foamliu_mobilefacenet  attack=pgd  goal=dodging  budget=linf_8  threat=adaptive  defense=jpeg
                         choose an option of each group; frbench options GROUP lists them
  attack.steps=100       set a field of an option; frbench options attack=pgd lists them
  -m attack=fgsm,pgd     sweep over all combinations of comma-separated values
  experiment=demo        run a shipped sweep; frbench options experiment lists them
  dataset.limit=200      attack only this many pairs; the threshold is still set on all pairs
  seed=0  device=auto  batch_size=64
  fetch=true             download missing data sets and weight files that have a public source
  trust=[my_package]     allow classes of a package besides frbench
  allow_overlap=true     allow a defense fitted on people of the test set; the record is flagged
  allow_low_accuracy=true  attack a recognizer below its minimum clean accuracy; the record is flagged
  paths.data=FOLDER  paths.results=FOLDER  paths.cache=FOLDER
                         faces and weights; records and reports; decoded images
{_OVERRIDES}
Each cell prints one line: options, clean accuracy, ASR with its confidence interval and denominator, and flags.
A sweep can be killed at any time; the same command continues it. Next: frbench report
Exit code: 0 done, 1 a cell crashed, 2 wrong options or set-up, 75 stopped by SIGTERM, SIGUSR1 or SIGUSR2 after the
current block of pairs, 130 interrupted.
"""

FIT = f"""\
usage: frbench fit [overrides]

Train a recognizer, or fit a defense ahead of a sweep. frbench run fits a defense by itself if needed.

  training=single out=FILE.safetensors    train a recognizer; frbench options training lists recipes
  training=NAME network@training.network=tiny
                                          choose the network; frbench options network lists them
  defense=pin                             fit a defense, for the same recognizer and seed as the later run
  identities=celeba                       the faces to train on, of people outside the test set
  fit_seed=0  device=auto
{_OVERRIDES}
The same command continues an interrupted training. At the end it prints how to use the result.
SIGTERM, SIGUSR1 and SIGUSR2 stop it after the current step, with a checkpoint and exit code 75.
"""

PLAN = f"""\
usage: frbench plan [overrides] [--no-timing]

Print what frbench run with the same overrides would do: cells, those that are done, jobs, sets of adversarial images to
make after sharing, and an estimate of forward and backward passes, hours and disk space. Nothing is recorded. Each
attacker and each defended recognizer is timed on one batch on this machine.

  --no-timing            leave out the estimate
{_OVERRIDES}
Exit code: 0 done, 2 wrong options or set-up.
"""

STATUS = """\
usage: frbench status [SWEEP] [--json] [paths.results=FOLDER]

Print the state of each cell of a sweep: done, refused, failed, running, waiting or missing. Without SWEEP: of the
latest sweep. The beginning of an id is enough. The state comes from the results folder, not from a scheduler; on a
network file system a new record may take a minute to appear.

  --json                 all cells as JSON, with keys, reasons and logs
Exit code: 0 all cells are done, 1 some failed, 2 wrong usage, 3 some are unfinished.
"""

CANCEL = """\
usage: frbench cancel SWEEP [paths.results=FOLDER]

Stop the workers of a sweep at their next block and cancel its waiting jobs, no others. Finished work is kept; the same
frbench run command continues.
"""

WORK = """\
usage: frbench work SWEEP [--group N] [paths.results=FOLDER]

Be one worker of a sweep that frbench run has planned: evaluate the cells of group N, then cells that no other worker
has started. Launchers run this line; run it by hand to add a worker on any machine that shares the results folder.

  --group N              begin with this group; without it take all groups in turn
  fail_fast=true         the first failed cell stops the sweep
  images=until_judged    delete adversarial images when no cell of the sweep needs them
  timeout_min=60         time limit of this job, for advice about cells that never finish a block
Exit code: 0 done, 1 a cell crashed, 2 a cell has wrong input, 75 stopped by SIGTERM, SIGUSR1 or SIGUSR2.
"""

CRAFT = f"""\
usage: frbench craft [overrides] [--shard NUMBER/COUNT]

Make the adversarial images of one cell ahead of its run and keep them in the results folder. Several jobs, each with
another shard, share the work. There is nothing to merge: frbench run with the same overrides finds all images, and its
record is the same.

  --shard 3/16           only the blocks of 64 pairs numbered 3, 19, 35, ... from 0; shards are 0/16 to 15/16
  paths.results=FOLDER   the results folder that all jobs share
{_OVERRIDES}
Other overrides are those of frbench run, for one cell: no -m. A defense is fitted first if needed; judging the images
and training trackers are left to frbench run.
Exit code: 0 done, 2 wrong options or set-up, 75 stopped by SIGTERM, SIGUSR1 or SIGUSR2, 130 interrupted.
"""

REPORT = """\
usage: frbench report [overrides]

Write tables (Markdown, LaTeX, CSV) and figures of all recorded cells. Begin with results/tables/report.md, which opens
with each defense against attackers who know more and more.

  format=html                  write one file instead, report.html, to open in a browser, to mail and to print: tables,
                               interactive plots, sample images, run cards; out=FILE.html chooses its name
  format=json                  print the records as JSON lines instead
  format=card fingerprint=1f0c3a9b
                               write a run card to attach to a paper, as JSON and Markdown, without paths
  paper=NAME                   write a paper's table with its published values beside ours; paper=all writes every one
  paths.results=FOLDER         where the records are
  out=FOLDER                   where to write tables/ and figures/; default: the results folder
  where.attack=pgd             only these records; a list selects any of its values: 'where.attack=[pgd,mifgsm]'
                               also where.dataset, recognizer, protocol, goal, threat, surrogate, budget, defense
  where.fingerprint=1f0c3a9b   the beginning of a fingerprint is enough
  where.status=crashed         done, refused or crashed
  where.flag=not_converged     records with this flag
  +where.settings.seed=1       records of runs with this setting
  figures=main                 all: also those of every single defense and attack; none: tables alone
  timing=false                 no cost in ms, so that two runs of the same cells give the same tables
  top=1                        pairs of each cell in the picture grids
"""

REPRODUCE = """\
usage: frbench reproduce RECORD|FILE.json [overrides]

Run the cell of a record again, in a results folder of its own, and compare every number. RECORD is the beginning of a
fingerprint (8 digits), FILE.json a record file or a run card (frbench report format=card). Its paths are not used.

  paths.data=FOLDER  paths.cache=FOLDER  device=auto  fetch=true
                         where data and weights are here; they must have the digests of the record
  recognizer.path=FILE   your copy of a file that only the user of the record had; the message names the key
  out=FOLDER             results folder of the new run; default: reproduced/ in the results folder
  tolerance=0.01         largest difference of two numbers that counts as reproduced; relative for numbers above 1
  paths.results=FOLDER   where a fingerprint is looked up
  trust=[my_package]     allow classes of a package besides frbench
Exit code: 0 all numbers equal or within tolerance, 1 some are apart, 2 the cell cannot be repeated here, such as with
other data or weights, 75 stopped by a signal, 130 interrupted.
"""

EXPORT = """\
usage: frbench export sqlite|parquet|images [overrides]

Write the recorded cells for other tools, such as Datasette, DuckDB and pandas.

  frbench export sqlite    one database with the tables records (one row per record) and pairs (one row per record and
                           pair): pairs.record is the number of the record
  frbench export parquet   the same as records.parquet and pairs.parquet
  frbench export images    the images that figures show as PNG, named as the photos, a folder per record with pairs.csv

  out=PATH                 a file for sqlite, a folder for parquet and images; default: exports/ in the results folder
  overwrite=true           replace files that exist
  pairs=cached             of images: all attacked pairs whose images are in the cache; needs data set and recognizer
  where.attack=pgd  where.status=done
                           only these records, as in frbench report
  paths.results=FOLDER     where the records are
Exit code: 0 done, 2 wrong usage.
"""

DIFF = """\
usage: frbench diff A B [--json] [overrides]

Compare two recorded cells pair by pair: what differs between the runs, on which pairs one attack alone succeeds, and
the paired test. A and B are fingerprints (8 digits are enough; frbench report format=json shows them) or record files,
also of other results folders. Runs on other images, or without a result, are explained and not compared.

  paths.results=FOLDER   where fingerprints are looked up
  top=20                 flipped pairs that are listed; all lists every one
  --json                 everything as JSON, with all flipped pairs, their scores, thresholds, sizes and queries
Exit code: 0 the pairs are compared, 2 they cannot be compared, or wrong usage.
"""

COMPARE = """\
usage: frbench compare A B [out=FILE.html] [overrides]

Write the comparison of two recorded cells as a page in one file, which needs no network and no server: what frbench
diff prints, with a plot of the margins, all flipped pairs, sample images and run cards. A and B are those of frbench
diff.

  out=FILE.html          default: compare_A_B.html in the current folder, with the first 8 digits of both fingerprints
  paths.results=FOLDER   where fingerprints are looked up
Exit code: 0 the pairs are compared, 2 the page explains why they cannot be compared, or wrong usage.
"""

SERVE = f"""\
usage: frbench serve [overrides]

Serve a recognizer, with or without a defense, over HTTP: it compares two aligned 112x112 faces, until interrupted.
There is no authentication; keep the host at 127.0.0.1 unless the network is trusted.

  recognizer=tiny  defense=none   what to serve; frbench options recognizer lists recognizers
  server.host=127.0.0.1  server.port=8008
  server.threshold=0.3            "match": true above this similarity; null returns only similarities
  server.max_bytes=2097152        size limit of an image file
  server.max_batch=32  server.wait_ms=2
                                  requests per batch, and how long the first one waits for others
  identities=celeba  fit_seed=0   for a fitted defense, as in frbench run
  device=auto  seed=0             the seed is that of a random defense
{_OVERRIDES}
Compare:  curl -F probe=@one.png -F reference=@other.png http://127.0.0.1:8008/compare
Attack:   frbench run recognizer=service threat=query attack=square dataset.limit=20
"""

CLOAK = """\
usage: frbench cloak FOLDER [overrides]

Cloak every face in the photos of FOLDER (or in one photo), so that a face recognizer trained on the copies does not
recognize the person in other photos. NAME.jpg becomes NAME_cloaked.jpg beside it, in the same format (jpg, jpeg, png,
webp, bmp). Existing files are never overwritten: photos that have a copy are skipped, so an interrupted run
can continue.

  out=OTHER_FOLDER       write the copies there
  recursive=true         include subfolders
  quality=95             of JPEG and WebP copies
  suffix=_cloaked        appended to the name of a copy
  attack=fawkes          or lowkey_proxy_lpips, or one within a budget: attack=pgd budget=linf_8;
                         attack.NAME=VALUE sets an option of the attack
  recognizer=foamliu_mobilefacenet
                         the recognizer to craft against; it needs gradients; an ensemble transfers better
  batch_size=16          faces at a time; more on a GPU
  device=auto  seed=0

Copies have no EXIF data, which may contain the location and a thumbnail of the uncloaked face.
Exit code: 0 every photo has a copy, 1 some photo failed, 2 wrong usage, 75 stopped by a signal, 130 interrupted.
"""

GC = """\
usage: frbench gc [overrides]

Print what can be deleted from a results folder without losing a result: temporary files and leases of processes that
died, logs of finished sweeps, damaged files that were set aside, cached arrays such as adversarial images, unfinished
fits, and sample images without a record. Records, scores and fitted defenses always stay. What is needed again is made
again.

  delete=true            delete these files
  older_than=30d         age since the last use of cached arrays, unfinished fits and damaged files: 12h, 30d, 8w
  cache_at_most=50GB     cached and damaged files together; the least recently used are deleted first
  paths.results=FOLDER   the results folder

While a process works in the folder, cached arrays, unfinished fits and sample images stay.
Exit code: 0 done, 1 a file could not be deleted, 2 wrong usage.
"""

OPTIONS = """\
usage: frbench options [GROUP | GROUP=NAME] [--config-dir=FOLDER] [trust=[my_package]]

  frbench options               all groups, with the names of their options
  frbench options attack        the options of a group, each with its paper
  frbench options attack=pgd    the fields of an option: default, type and range, meaning

--config-dir=FOLDER includes your own options; list their package in trust=[...] to see their fields.
"""
