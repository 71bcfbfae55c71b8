"""Build the webhook Lambda's archive: `python deploy/build_lambda.py [FILE]`.

It holds the modules that the handler imports, and nothing else; the runtime carries the rest. The
same sources give the same bytes, on any machine: names in order, one date, no compression (which
differs between versions of zlib), no compiled files (which differ between versions of Python).
"""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "src"
ARCHIVE = Path("dist/webhook-lambda.zip")
HANDLER = "outdial.webhook_lambda.handler"

#: Imported when it is first asked is what a queue and a bucket of AWS need.
_ENTRY_POINTS = ("outdial.webhook_lambda", "outdial.adapters.aws.senders")
#: The earliest date that an archive can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


def modules() -> list[Path]:
    """The files that the handler imports, below `src`, in order."""
    script = (
        f"import sys, {', '.join(_ENTRY_POINTS)}\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.partition('.')[0] == 'outdial'), "
        "sep='\\n')"
    )
    done = subprocess.run(
        # No site packages: an import of anything but the standard library fails here.
        [sys.executable, "-ISc", f"import sys; sys.path.insert(0, {str(SOURCES)!r})\n{script}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted(Path(line).relative_to(SOURCES) for line in done.stdout.splitlines())


def build() -> bytes:
    """The archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in modules():
            entry = zipfile.ZipInfo(path.as_posix(), _DATE)
            entry.create_system = 3  # whatever the machine, the files have Unix' rights
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, (SOURCES / path).read_bytes())
    return buffer.getvalue()


def main() -> None:
    """Write the archive and say where."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ARCHIVE
    archive = build()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive)
    print(f"{path}: {len(archive) / 1000:.0f} kB, handler {HANDLER}")


if __name__ == "__main__":
    main()
