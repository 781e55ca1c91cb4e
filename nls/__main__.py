"""``python -m nls`` is the command line."""

import sys

from nls.cli import main

sys.exit(main())
