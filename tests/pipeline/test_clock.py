"""The clock of the machine jumps back, for real: stages run with a library under them that gives them another time.

Their files keep the machine's own time, so to a stage whose clock is behind they come from the future. libfaketime is
no help: where it leaves alone the clock that counts up, as a machine does, Python's `time.sleep` fails.
"""

import shutil
import struct
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from .conftest import a_piece, environment, hashes, ran, run, wait_for
from .lacking import lacking

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
DAY = 86_400
AHEAD, BEHIND = 2 * DAY, -2 * DAY
COMPILER = shutil.which("cc")
# The functions that tell the time of day, with as many seconds added as a file says at the time; and the one by which
# processes of Python wait up to a time of day.
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *shift;
__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_SHIFT");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED) shift = map;
}
static long added(void) { return shift ? *shift : 0; }
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += added();
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    struct timespec true_time = *until;
    true_time.tv_sec -= added();
    int (*own)(sem_t *, const struct timespec *) = dlsym(RTLD_NEXT, "sem_timedwait");
    return own(semaphore, &true_time);
}
"""


class Clock:
    """A clock that can be set while programs run; `environment` is that of a program which goes by it."""

    def __init__(self, folder):
        self.shift, library = folder / "shift", folder / "clock.so"
        (folder / "clock.c").write_text(SOURCE)
        made = [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(library), str(folder / "clock.c"), "-ldl"]
        subprocess.run(made, check=True)
        self.shift.write_bytes(struct.pack("l", 0))
        self.environment = {**environment(), "LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self.shift)}

    def set(self, seconds):
        """So many seconds beside the machine's clock, from now on and for all programs."""
        with self.shift.open("r+b") as file:
            file.write(struct.pack("l", seconds))


@pytest.fixture
def clock(tmp_path):
    if COMPILER is None or not sys.platform.startswith("linux"):
        lacking("needs Linux and a C compiler (cc)")
    folder = tmp_path / "clock"
    folder.mkdir()
    return Clock(folder)


@pytest.fixture
def copy(clones, tmp_path):
    """A copy of the second clone without what stages could take over."""
    folder = tmp_path / "r"
    shutil.copytree(clones[0][1], folder, symlinks=True, ignore=shutil.ignore_patterns(".rlrf4rec"))
    return folder


def jumped(folder, stage, clock):
    """Run a stage by `dvc repro`; as soon as a first piece of it is finished its clock jumps back by four days."""
    clock.set(AHEAD)
    ready = a_piece(folder)
    command = ["dvc", "repro", "--force", "--single-item", stage]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, env=clock.environment, **pipes) as process:
        wait_for(process, ready)
        before = process.poll()
        clock.set(BEHIND)
        printed = process.communicate()[0]
    return before, process.returncode, printed


def test_a_clock_is_really_set(clock):
    """Both ways, in a process that is running; the clock that counts up, and a sleep, go on."""
    code = """
import time, datetime
first, counted = time.time(), time.monotonic()
print(datetime.datetime.now().isoformat(), flush=True)
input()
time.sleep(0.1)
print(round((time.time() - first) / 86_400), 0.1 <= time.monotonic() - counted < 3600)"""
    clock.set(AHEAD)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=clock.environment, **pipes) as process:
        shown = datetime.fromisoformat(process.stdout.readline().strip())
        clock.set(BEHIND)
        told = process.communicate("\n")[0]
    assert timedelta(days=1, hours=12) < shown - datetime.now() < timedelta(days=2, hours=12)
    assert told == "-4 True\n"


@pytest.mark.parametrize("stage", ["sample@base", "tune_reward", "train_dpo@round1", "train_ranker@base"])
def test_a_stage_ends_the_same_when_the_clock_jumps_back_in_the_middle_of_it(clock, copy, stage):
    """It begins two days ahead of the stages before it, and those after it run two days behind them."""
    before = hashes(copy)
    still_running, code, printed = jumped(copy, stage, clock)
    assert still_running is None, "it has ended before the jump"
    assert code == 0, printed
    assert "Traceback" not in printed
    assert hashes(copy) == before
    assert ran(run(copy, "dvc", "repro").stdout) == set()
