"""Playing samples as WAV files, with the first player that this machine has."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from zoo.errors import MissingDependencyError
from zoo.samples import Samples

PLAYERS = (  # with the options to play a file without a window, and end
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("afplay",),
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("play", "-q"),
)


class Playable(Samples):
    """Samples that `save` can write as .wav."""

    def play(self) -> None:
        """Play all of them, one after the other. Raises MissingDependencyError where no known player is installed."""
        player = next((command for command in PLAYERS if shutil.which(command[0])), None)
        if player is None:
            known = ", ".join(command[0] for command in PLAYERS)
            raise MissingDependencyError(f"no player for sounds on this machine; install one of {known}")
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([*player, str(self.save(Path(folder) / "samples.wav"))], check=False)
