"""The verbs about a classifier of one's own: ``attack`` and ``verify``."""

import argparse
from pathlib import Path

from nls.arguments import Verbs, integer, number
from nls.cli.options import add_batch_size, add_data_root, add_device, add_seed, own_options, print_result
from nls.errors import UserError


def add_verbs(verbs: Verbs) -> None:
    """Add these verbs."""
    for add in (_add_attack, _add_verify):
        add(verbs)


def _add_attack(verbs: Verbs) -> None:
    parser = verbs.add(
        "attack",
        "attack a classifier of your own and report what it withstands",
        "nls attack --model my_net.py:network --weights w.pt --dataset mnist --eps 0.3 --out attack.json",
        _attack,
        result=True,
    )
    parser.add_argument(
        "--model", required=True, metavar="FILE.py:FACTORY", help="function that returns the network"
    )
    parser.add_argument(
        "--weights", type=Path, required=True, metavar="PATH", help="its checkpoint: .pt or .safetensors"
    )
    parser.add_argument("--weights-key", metavar="KEY", help="where in the checkpoint the state_dict lies")
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help="mnist fashion_mnist cifar10 digits, or a .npz"
    )
    add_data_root(parser)
    parser.add_argument(
        "--eps",
        type=number(0, 1000),
        required=True,
        help="radius of the ball, pixels in [0, 1]; 8/255 is understood",
    )
    parser.add_argument(
        "--norm", choices=("linf", "l2"), default="linf", help="of the ball; default: %(default)s"
    )
    parser.add_argument(
        "--attacks",
        default="pgd-xent,pgd-margin,autoattack",
        metavar="A,B",
        help="of pgd-xent pgd-margin apgd-ce apgd-dlr apgd-t fab-t square autoattack; default: %(default)s",
    )
    parser.add_argument(
        "--steps", type=integer(0, 1_000_000), default=40, metavar="N", help="of PGD; default: %(default)s"
    )
    parser.add_argument(
        "--step-size",
        type=number(0, 1000, above=True),
        default=0.01,
        metavar="A",
        help="of PGD, in pixel values; default: %(default)s",
    )
    parser.add_argument(
        "--restarts",
        type=integer(1, 10_000),
        default=1,
        metavar="N",
        help="random starts of PGD; default: %(default)s",
    )
    parser.add_argument(
        "--mean-over-starts", action="store_true", help="report the mean over starts beside the worst case"
    )
    parser.add_argument(
        "--apgd-steps",
        type=integer(1, 1_000_000),
        default=100,
        metavar="N",
        help="of each run of APGD; default: %(default)s",
    )
    parser.add_argument(
        "--fab-steps",
        type=integer(1, 1_000_000),
        default=100,
        metavar="N",
        help="of FAB for each target; default: %(default)s",
    )
    parser.add_argument(
        "--queries", type=integer(1), default=5000, metavar="N", help="of Square; default: %(default)s"
    )
    parser.add_argument("--limit", type=integer(1), metavar="N", help="attack the first N test images only")
    add_device(parser)
    add_seed(parser)
    add_batch_size(parser)
    parser.add_argument(
        "--save-adversarial", type=Path, metavar="FILE.npz", help="write the points; nls verify checks them"
    )
    parser.add_argument("--out", type=Path, metavar="attack.json", help="write the report there as JSON")


def _attack(arguments: argparse.Namespace) -> None:
    from nls.attacks.command import attack_files
    from nls.attacks.library import Effort

    options = own_options(arguments)
    for name in ("eps", "step_size"):
        value = options[name]
        if options["norm"] == "linf" and value > 1:
            hint = f": did you mean {value:g}/255?" if value < 255 else ""
            raise UserError(f"--{name.replace('_', '-')} {value:g} is more than pixels in [0, 1] allow{hint}")
    effort = Effort(*(options.pop(name) for name in ("apgd_steps", "fab_steps", "queries")))
    attacks = [name.strip() for name in options.pop("attacks").split(",") if name.strip()]
    found = attack_files(attacks=attacks, effort=effort, **options)
    if arguments.json:
        print_result(arguments, found)


def _add_verify(verbs: Verbs) -> None:
    parser = verbs.add(
        "verify",
        "check the adversarial points that nls attack wrote",
        "nls verify points.npz --model my_net.py:network --weights w.pt",
        _verify,
    )
    parser.add_argument("points", type=Path, metavar="FILE.npz", help="what --save-adversarial wrote")
    parser.add_argument("--model", required=True, metavar="FILE.py:FACTORY", help="as for nls attack")
    parser.add_argument("--weights", type=Path, required=True, metavar="PATH", help="as for nls attack")
    parser.add_argument("--weights-key", metavar="KEY", help="as for nls attack")
    add_data_root(parser)
    add_device(parser)
    add_batch_size(parser)


def _verify(arguments: argparse.Namespace) -> None:
    from nls.attacks.command import check_file

    check_file(**own_options(arguments))
