import subprocess
import sys


def test_torchvision_imports_beside_this_torch_in_a_fresh_process():
    code = (
        "import torch\n"
        "from nls.engine.vision import torchvision\n"
        "import torchvision.transforms, torchvision.datasets\n"
        "if torch.version.cuda is not None:\n"
        "    torchvision.ops.nms(torch.rand(3, 4), torch.rand(3), 0.5)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
