"""The daemon of a live day as a program of its own, so that it can be killed and measured.

`python -m tests.proofs.live_child FOLDER` is that program: it trades in the world of its parent, by the ports and the
clock that the parent wrote to world.json.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from quantd.daemon.app import Options, serve
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import load
from quantd.daemon.views.run_summary import Summary
from tests.proofs.live_day import World, serves, world_at
from tests.support.command_line import environment


class Child:
    """The daemon in a process of its own; `lives` returns the summary of its last start."""

    def __init__(self, world: World, folder: Path, state: Path, venue: str) -> None:
        self.folder, self.state = folder, state
        self.process: asyncio.subprocess.Process | None = None
        self.killed = 0
        clock = world.clock
        self.plan = {
            "venue": venue, "scale": clock.scale, "base": clock.base, "began": clock.began, "feed": world.data_port,
            "path": world.cable.port,
        }  # fmt: skip

    async def lives(self) -> Summary:
        """Start it, and again after each kill, until it ends by itself."""
        (self.folder / "world.json").write_text(json.dumps(self.plan))
        while True:
            with suppress(FileNotFoundError):
                (self.state / "api.json").unlink()
            kills = self.killed
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.proofs.live_child", str(self.folder), env=environment()
            )
            code = await self.process.wait()
            if kills == self.killed:
                assert code == 0, f"the daemon ended with {code}"
                return msgspec.json.decode((self.folder / "summary.json").read_bytes(), type=Summary)

    async def kill(self) -> None:
        """SIGKILL at this instant; wait until the next start serves."""
        assert self.process is not None
        self.killed += 1
        self.process.kill()
        await self.process.wait()
        await asyncio.sleep(0.2)
        await serves(self.state)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    async def gone(self) -> None:
        """End it, whatever became of the day."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


def main(folder: Path) -> int:
    plan = json.loads((folder / "world.json").read_text())
    world = world_at(plan["venue"], folder, plan["scale"], 1)
    world.clock.base, world.clock.began = plan["base"], plan["began"]
    world.data_port, world.cable.port = plan["feed"], plan["path"]
    path = folder / "config.toml"
    os.chdir(folder)
    summary = asyncio.run(
        serve(load(path, known_names()), Options(config=path, quiet=True), find=world.find, now=world.clock)
    )
    (folder / "summary.json").write_bytes(msgspec.json.encode(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
