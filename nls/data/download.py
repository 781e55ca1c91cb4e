"""One file over HTTP: time-outs, resumption, several addresses, and a checksum before anything is believed."""

import hashlib
import http.client
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from nls.errors import UserError, one_line

TIMEOUT = 30.0  # seconds without a byte
TRIES = 3  # an address; a transfer that breaks goes on from where it broke
_BLOCK = 1 << 18


class NotThereError(UserError):
    """Every address answered that it has no such file."""


class _FailedError(Exception):
    """A transfer failed: ``final`` if another try at this address is idle, ``absent`` if it has no such file."""

    def __init__(self, reason: str, final: bool = False, absent: bool = False) -> None:
        super().__init__(reason)
        self.final = final
        self.absent = absent


def download(addresses: Sequence[str], path: Path, md5: str | None) -> str:
    """Fetch a file from the first address that delivers it and return that address.

    Bytes gather in ``<path>.part``, from which a later call resumes a broken transfer, and become ``path`` when
    their MD5 sum is right (``md5`` None: when as many bytes came as the server announced).

    Raises:
        UserError: no address delivered the file; says why for each. :class:`NotThereError` if none has it.
        OSError: the file cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    if md5 is None:  # nothing tells whether what an earlier call left is a part of this file
        path.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    elif path.exists() and md5_of(path) == md5:
        return addresses[0]
    reasons, absent = [], []
    for address in addresses:
        for attempt in range(1, TRIES + 1):
            try:
                resumed = _transfer(address, part)
                if md5 is not None and md5_of(part) != md5:
                    part.unlink()
                    # A resumed file may have had a wrong beginning: a fresh one tells. A fresh wrong one is final.
                    raise _FailedError("wrong content (MD5)", final=not resumed)
            except _FailedError as failure:
                if failure.final or attempt == TRIES:
                    reasons.append(f"{address}: {failure}")
                    absent.append(failure.absent)
                    break
                print(one_line(f"{address}: {failure}; trying again"), file=sys.stderr)
            else:
                part.replace(path)
                return address
    raise (NotThereError if all(absent) else UserError)(
        f"cannot download {path.name} ({'; '.join(reasons)}): check the connection, or take it from a mirror with"
        " --mirror DIR_OR_URL"
    )


def md5_of(path: Path) -> str:
    """Return a file's MD5 sum in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _transfer(address: str, part: Path) -> bool:
    """Bring ``part`` to its full length; return whether bytes of an earlier transfer are in it."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "nls"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        request = urllib.request.Request(address, headers=headers)
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the rest of a file that is already whole, or of another file
            part.unlink()
            raise _FailedError("cannot resume") from error
        raise _FailedError(f"HTTP {error.code}", error.code < 500, error.code in (403, 404, 410)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _FailedError(_reason(error)) from error
    except ValueError as error:
        raise _FailedError(f"no valid address ({error})", final=True) from error

    with response:
        resumed = response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise _FailedError("answered with another range than asked")
        length = response.headers.get("Content-Length")
        if length is not None and not re.fullmatch("[0-9]{1,18}", length):
            raise _FailedError("announced no valid length")
        total = int(length) + (have if resumed else 0) if length is not None else None
        done = have if resumed else 0
        bar = tqdm(desc=part.stem, total=total, initial=done, unit="B", unit_scale=True, disable=None)
        with bar, part.open("ab" if resumed else "wb") as file:
            while block := _read(response):
                file.write(block)
                bar.update(len(block))
                done += len(block)
    if total is not None and done < total:
        raise _FailedError(f"broke off after {done} of {total} bytes")
    return resumed


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _FailedError(_reason(error)) from error


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return "timed out" if isinstance(cause, TimeoutError) else str(cause) or type(cause).__name__
