"""Options that several verbs have, and the result that a verb prints as JSON."""

import argparse
import json
from pathlib import Path
from typing import Any

from nls.arguments import Parser, integer, seed


def add_device(parser: Parser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto, the default, takes a GPU if there is one",
    )


def add_seed(parser: Parser) -> None:
    """Add ``--seed``."""
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="S", help="of all random draws; default: %(default)s"
    )


def add_data_root(parser: Parser) -> None:
    """Add ``--data-root``."""
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder of the datasets; default: %(default)s",
    )


def add_batch_size(parser: Parser) -> None:
    """Add ``--batch-size``."""
    parser.add_argument(
        "--batch-size", type=integer(1), default=250, metavar="N", help="images at once; default: %(default)s"
    )


def own_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the verb's own."""
    common = ("verb", "completion", "quiet", "json", "result_to")
    return {name: value for name, value in vars(arguments).items() if name not in common}


def print_result(arguments: argparse.Namespace, result: Any) -> None:
    """Print a verb's result as JSON where it goes even if everything else is silent."""
    print(json.dumps(result, indent=2, ensure_ascii=False), file=arguments.result_to)
