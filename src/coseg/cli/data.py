"""``coseg-data``: list, download, check, show and pack data sets, count their pairs, export masks to other programs."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coseg.cli.datasets import chosen_dataset, dataset_names, known_dataset, listed_datasets
from coseg.cli.options import MOST_SEED, whole
from coseg.data.sources import ARCHIVES
from coseg.errors import CosegError

if TYPE_CHECKING:
    from coseg.data.catalog import Catalog, Reader


def _list(options: argparse.Namespace) -> int:
    datasets = listed_datasets(options.config_dir)
    width = max(map(len, datasets))
    for name, dataset in datasets.items():
        print(f"{name:<{width}}  {dataset.description}")
        if dataset.has_root:
            root = os.environ.get(dataset.variable)
            how = f"coseg-data download {name}" if name in ARCHIVES else "dataset.root=<folder>"
            beside = f"; {dataset.variable}" if dataset.variable else ""
            print(f"{'':<{width}}  {dataset.variable}={root}" if root else f"{'':<{width}}  {how}{beside}")
    return 0


def _download(options: argparse.Namespace) -> int:
    from coseg.data.download import download

    name = known_dataset(options.name)
    if name not in ARCHIVES:
        raise CosegError(f"The data set {name} can't be downloaded; these can: {', '.join(ARCHIVES)}.")
    folder = Path(options.root or Path("data") / name).expanduser()
    download(ARCHIVES[name], folder, options.archive, name)
    variable = listed_datasets()[name].variable
    print(f"{folder} is there; use it with dataset={name} dataset.root={folder}, or {variable}={folder}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from coseg.data.catalog import Note

    reader = _reader(options)
    count = 0
    for split in reader.splits:
        remarks = list(reader.problems(split))
        problems = [remark for remark in remarks if not isinstance(remark, Note)]
        for remark in remarks:
            print(f"{split}: {'note: ' if isinstance(remark, Note) else ''}{remark}")
        count += len(problems)
        try:
            catalog = reader.read(split)
        except CosegError:
            if not problems:  # everything that `read` refuses should be among them
                raise
        else:
            _describe(catalog)
    if count:
        print(f"{count} problem{'s' if count > 1 else ''}", file=sys.stderr)
    return 2 if count else 0


def _describe(catalog: Catalog) -> None:
    from coseg.data.catalog import without_class
    from coseg.data.pair_index import PairIndex

    counts = dict(zip(catalog.class_names, catalog.presence.sum(0).tolist(), strict=True))
    classes = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    published = f" (published: {catalog.expected})" if catalog.expected is not None else ""
    print(f"{catalog.name}/{catalog.split}: {len(catalog)} images{published}, {len(PairIndex(catalog.presence))} pairs")
    print(f"    images of each class: {classes}")
    if without := without_class(catalog):
        print(f"    {without}")


def _pairs(options: argparse.Namespace) -> int:
    from coseg.cli.sentences import writing
    from coseg.data.benchmark import Rule, write_benchmark
    from coseg.data.catalog import without_class
    from coseg.data.pair_index import PairIndex
    from coseg.data.readers.files import read_list
    from coseg.files.writing import write_text_atomically

    if options.most_uses is not None and options.per_class is None:
        raise CosegError("--most-uses limits a sample: give --per-class too.")
    reader = _reader(options)
    if options.split is not None:
        reader.check_split(options.split)
    catalogs = {split: reader.read(split) for split in (reader.splits if options.split is None else [options.split])}
    indices = {split: PairIndex(catalog.presence) for split, catalog in catalogs.items()}
    if options.csv is not None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("split", "i", "j", "id_a", "id_b", "classes"))
        for split, catalog in catalogs.items():
            index = indices[split]
            for i, j in (index[k] for k in range(len(index))):
                common = (catalog.presence[i] & catalog.presence[j]).nonzero()[0]
                classes = " ".join(catalog.class_names[k] for k in common)
                writer.writerow((split, i, j, catalog.ids[i], catalog.ids[j], classes))
        with writing(options.csv):
            write_text_atomically(options.csv, text.getvalue())
    if options.out is not None:
        if len(catalogs) != 1:
            names = ", ".join(catalogs)
            raise CosegError(f"A file of --out is of one split, and {options.name} has {names}: give --split.")
        (catalog,) = catalogs.values()
        only = None if options.images is None else read_list(options.images)
        rule = Rule(options.per_class, options.most_uses, options.seed, only)
        settings = [*options.set, *([] if options.groups is None else [f"groups={options.groups}"])]
        with writing(options.out):
            write_benchmark(options.out, catalog, options.unit, rule, " ".join(settings))
    elif (options.per_class, options.most_uses, options.images) != (None, None, None):
        raise CosegError("--per-class, --most-uses and --images choose what --out lists: give --out FILE.")
    for split, catalog in catalogs.items():
        if without := without_class(catalog):
            print(f"{split}: {without}", file=sys.stderr)
    print(json.dumps({split: len(index) for split, index in indices.items()}))
    return 0


def _show(options: argparse.Namespace) -> int:
    from coseg.cli.sentences import writing
    from coseg.data.pair_orders import ShuffledPairs
    from coseg.imaging.draw import save_picture
    from coseg.reports.panels import draw_panel, truth_row

    reader = _reader(options)
    split = options.split or reader.splits[0]
    catalog = reader.read(split)
    order = ShuffledPairs(catalog.presence, options.seed)
    rows = [truth_row(catalog, *order.pair(0, k)) for k in range(min(options.pairs, len(order)))]
    path = options.out or Path(f"{catalog.name}-{split}.png")
    with writing(path):
        save_picture(path, draw_panel(rows))
    print(path)
    return 0


def _shards(options: argparse.Namespace) -> int:
    from coseg.cli.sentences import writing
    from coseg.data.pack import SHARDS, remove_shards, same_catalog, write_shards
    from coseg.files.stored import StoredPath

    reader, out = _reader(options), options.out.expanduser()
    root = getattr(reader, "root", None)
    if root is None or isinstance(root, StoredPath):
        raise CosegError(f"The shards of {options.name} are written from a folder: give it as --root FOLDER.")
    catalogs, errors = {}, list[CosegError]()
    for split in reader.splits:
        try:
            catalogs[split] = reader.read(split)
        except CosegError as error:  # a data set may lack a split
            errors.append(error)
    if not catalogs:
        raise errors[0]
    # A single class may have the name of its folder, which a tar file keeps if the folder is in it.
    classes = {name for catalog in catalogs.values() for name in catalog.class_names}
    below = root.resolve().name if root.resolve().name in classes else ""
    with writing(out):
        names = write_shards(root, out, options.size_mb, below)
    try:
        again = chosen_dataset(options.name, str(out), options.groups, options.set, options.config_dir).reader
        for split, catalog in catalogs.items():
            same_catalog(catalog, again.read(split))
    except BaseException:  # wrong shards don't stay, nor those that Ctrl-C leaves unchecked
        remove_shards(out, names)
        raise
    for catalog in catalogs.values():
        print(f"{catalog.name}/{catalog.split}: {len(catalog)} images, as in {root}")
    print(f"{len(names)} shards: use them with dataset={options.name} dataset.root={out / SHARDS.format('*')}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from coseg.cli.sentences import writing
    from coseg.data.annotations import coco_text, find_masks, labelme_texts
    from coseg.files.writing import write_text_atomically

    images, out = options.images.expanduser(), options.out.expanduser()
    files = find_masks(options.masks.expanduser(), images, options.label)
    texts = {out: coco_text(files, images)} if options.format == "coco" else labelme_texts(files, out, images)
    existing = [str(path) for path in texts if os.path.lexists(path)]
    if existing and not options.overwrite:
        rest = f" and {len(existing) - 1} more files exist" if len(existing) > 1 else " exists"
        raise CosegError(f"{existing[0]}{rest} already: --overwrite replaces, --out gives another place.")
    for path, text in texts.items():
        with writing(path):
            write_text_atomically(path, text)
    print(f"{len(files)} masks of {len({file.image for file in files})} images: {out}")
    return 0


def _reader(options: argparse.Namespace) -> Reader:
    """The reader of the data set as its configuration makes it, with what the command line sets."""
    return chosen_dataset(options.name, options.root, options.groups, options.set, options.config_dir).reader


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coseg-data", description="List, download, check and show data sets, and export masks."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    names = ", ".join(dataset_names())

    def command(name: str, job: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(job=job)
        if name != "list":
            added.add_argument("name", metavar="NAME", help=names)
            added.add_argument("--root", metavar="FOLDER", help="the data set's folder")
        if name != "download":
            added.add_argument(
                "--config-dir",
                type=Path,
                metavar="DIR",
                help="a directory with further data sets, as dataset/NAME.yaml",
            )
        if name not in ("list", "download"):
            added.add_argument("--groups", nargs="+", metavar="GROUP", help="test, all, or names of groups")
            added.add_argument(
                "--set", nargs="+", default=[], metavar="KEY=VALUE", help="further values, such as split_val=false"
            )
        return added

    command("list", _list, "the data sets there are")
    download = command("download", _download, "fetch and unpack a data set, to --root or data/NAME")
    download.add_argument("--archive", type=Path, metavar="FILE", help="the archive, fetched by hand")
    command("check", _check, "count images, pairs and classes, and list everything that is wrong")
    pairs = command("pairs", _pairs, "the number of pairs in each split, as JSON")
    pairs.add_argument("--split", metavar="SPLIT", help="one split alone")
    pairs.add_argument("--csv", type=Path, metavar="FILE", help="write the list of pairs")
    pairs.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write a benchmark file, with a checksum, for coseg-test data.pairs=FILE",
    )
    pairs.add_argument("--unit", choices=("pair", "group"), default="pair", help="what --out lists (pair)")
    pairs.add_argument(
        "--per-class", type=whole(1), metavar="N", help="of --out: a balanced sample, N pairs or images of each class"
    )
    pairs.add_argument("--most-uses", type=whole(1), metavar="K", help="an image is in K pairs or groups at most")
    pairs.add_argument("--seed", type=whole(0, MOST_SEED), default=0, metavar="N", help="of the sample (0)")
    pairs.add_argument("--images", type=Path, metavar="FILE", help="of --out: list these images alone, an id a line")
    show = command("show", _show, "a picture of sample pairs with their truth")
    show.add_argument("--split", metavar="SPLIT", help="the first one, if not given")
    show.add_argument("--pairs", type=whole(1, 1000), default=6, metavar="N", help="how many (6)")
    show.add_argument("--seed", type=whole(0, MOST_SEED), default=0, metavar="N", help="which (0)")
    show.add_argument("--out", type=Path, metavar="FILE", help="the picture, <data set>-<split>.png if not given")
    shards = command("shards", _shards, "write a data set into tar files, which are read without being unpacked")
    shards.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the tar files; must not exist")
    shards.add_argument("--size-mb", type=whole(1), default=500, metavar="N", help="of a tar file (500)")
    text = "masks in files, as coseg-predict writes them, to annotations that other programs read"
    export = commands.add_parser("export", help=text, description=f"{text[0].upper()}{text[1:]}.")
    export.set_defaults(job=_export)
    export.add_argument("masks", type=Path, metavar="MASKS", help="the folder of the masks")
    export.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="the folder of their photographs")
    export.add_argument("--format", choices=("coco", "labelme"), required=True, help="COCO's instances, or labelme")
    export.add_argument(
        "--out", type=Path, required=True, metavar="PLACE", help="the JSON file; of labelme the folder of its files"
    )
    export.add_argument("--label", metavar="NAME", help="of the objects (a mask's folder in MASKS, else object)")
    export.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    from coseg.cli.sentences import guard

    options = _parser().parse_args(arguments)
    if getattr(options, "groups", None) is not None and options.groups in (["all"], ["test"]):
        options.groups = options.groups[0]
    codes: list[int] = []
    guard(lambda: codes.append(options.job(options)))
    raise SystemExit(codes[0])


if __name__ == "__main__":
    main()
