"""torch's optimizers without its compiler, whose import takes a process one to two seconds and nothing here needs.

The arithmetic is torch's: there these methods are only wrapped, so that graphs of ``torch.compile`` leave them out.
A network that is compiled for training (key ``compile``) is compiled apart from its optimizer.
"""

from inspect import unwrap

import torch


class Eager(torch.optim.Optimizer):
    """What every optimizer has, without the compiler."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class Adam(Eager, torch.optim.Adam):
    """``torch.optim.Adam``."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class SGD(Eager, torch.optim.SGD):
    """``torch.optim.SGD``."""

    step = torch.no_grad()(unwrap(torch.optim.SGD.step))
