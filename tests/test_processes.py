import multiprocessing
import time

from processes import WORLD, forked


def test_the_tests_own_daemons_outlive_forked_groups(tmp_path):
    """Such as the workers of a data loader that a test has left to the garbage collector."""
    daemon = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    daemon.start()
    assert forked(WORLD, lambda: None, tmp_path / "log") == [0] * WORLD
    daemon.join(timeout=0.2)
    assert daemon.is_alive()
    daemon.kill()
    daemon.join()
