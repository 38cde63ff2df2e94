"""Measure: `python -m bench press telemetry …` (`make bench ARGS="press"`).

Every table holds a floor or a peer measured in the same run, because only ratios survive a change
of machine. docs/benchmarks.md tells what each one means.
"""

import argparse
import asyncio
import importlib
import json
import logging
import sys
from pathlib import Path

from bench.report import Table, machine
from sim.interrupt import run_interruptibly

NAMES = ("press", "storm", "telemetry", "terminals", "pool")


async def run(names: list[str], *, quick: bool, json_file: Path | None) -> int:
    """Run the named benchmarks one after the other; prints tables, writes JSON."""
    tables: list[Table] = []
    for name in names:
        module = importlib.import_module(f"bench.{name}")
        found: list[Table] = await module.measure(quick=quick)
        for table in found:
            print(table.text(), flush=True)
        tables += found
    if json_file is not None:
        result = {"machine": machine(), "quick": quick, "tables": [t.data() for t in tables]}
        await asyncio.to_thread(json_file.write_text, json.dumps(result, indent=1) + "\n", "utf-8")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="bench", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="name", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="tiny numbers: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    options = parser.parse_args(argv)
    logging.getLogger("gmqtt").setLevel(logging.ERROR)
    return run_interruptibly(run(options.names, quick=options.quick, json_file=options.json))


if __name__ == "__main__":
    sys.exit(main())
