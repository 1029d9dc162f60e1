"""minitorchrun over two network namespaces, joined by a cable that can be pulled.

To the launchers and ranks these are two hosts: other addresses, no common loopback, no ipc. Needs
Linux, and user namespaces or root.
"""

import shutil
import subprocess
import sys
import time

import pytest

from tests.distributed.launching import SOON, environment, printed

# Runs "$@" --node_rank=N in both namespaces. `unshare` gives the first, with root's rights in it;
# the second lives as long as the `sleep` in it.
TWO_HOSTS = """
set -e
unshare --net sleep 600 & other=$!
trap 'kill $other' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
ip link add name here type veth peer name there netns $other
ip addr add 10.99.0.1/24 dev here
ip link set here up
ip link set lo up
nsenter --net --target $other sh -c \
    'ip addr add 10.99.0.2/24 dev there; ip link set there up; ip link set lo up'
"$@" --node_rank=0 $PROGRAM >$LOGS/0 2>&1 & first=$!
nsenter --net --target $other "$@" --node_rank=1 $PROGRAM >$LOGS/1 2>&1 & second=$!
if [ -n "$CUT" ]; then
    until grep -q up $LOGS/0 && grep -q up $LOGS/1; do sleep 0.1; done
    ip link set here down
fi
set +e
wait $first; echo $?
wait $second; echo $?
"""
UNSHARE = ["unshare", "--user", "--map-root-user", "--net"]
PORT = "29511"  # nobody else is in there


def allowed():
    tools = all(shutil.which(tool) for tool in ("unshare", "nsenter", "ip"))
    probe = [*UNSHARE, *"ip link add name here type veth peer name there".split()]
    return tools and subprocess.run(probe, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(
    not allowed(), reason="this machine does not let us make network namespaces (unshare, ip)"
)


def two_hosts(path, folder, *options, cut=False, **variables):
    """Exit codes and outputs of the two launchers, and how long it all took."""
    launcher = [sys.executable, "-m", "minitorch.distributed.run", "--nnodes=2"]
    launcher += ["--master_addr=10.99.0.1", f"--master_port={PORT}", *options]
    env = environment(LOGS=str(folder), PROGRAM=path, CUT="1" if cut else "", **variables)
    start = time.monotonic()
    done = subprocess.run(
        [*UNSHARE, "bash", "-c", TWO_HOSTS, "-", *launcher],
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    outputs = [(folder / name).read_text() for name in ("0", "1")]
    return list(map(int, done.stdout.split())), outputs, time.monotonic() - start


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text("0123456789abcdef0123456789abcdef")
    return str(path)


def test_two_hosts_train_together(script, tmp_path, secret):
    path = script(
        """
import os
import numpy as np
import minitorch.distributed as dist
dist.init_process_group()
total = np.full(1 << 16, dist.get_rank() + 1.0)
dist.all_reduce(total)
print(os.environ["LOCAL_RANK"], total[0], total[-1], os.environ["MASTER_ADDR"])
dist.destroy_process_group()
"""
    )
    codes, outputs, _ = two_hosts(path, tmp_path, "-n2", MINITORCH_SECRET_FILE=secret)
    assert codes == [0, 0], outputs
    for rank in range(4):
        assert printed(outputs[rank // 2], rank) == [f"{rank % 2} 10.0 10.0 10.99.0.1"]


def test_a_pulled_cable_is_noticed_on_both_sides(script, tmp_path):
    path = script("import time; print('up', flush=True); time.sleep(600)")
    conf = "--rdzv-conf=keep_alive_interval=0.5,keep_alive_max_attempt=8"
    codes, (here, there), seconds = two_hosts(path, tmp_path, conf, cut=True)
    assert codes == [1, 1] and seconds < 2 * SOON
    assert "node 1" in here and "has given no sign of life for 4 s" in here
    assert f"serves the store at 10.99.0.1:{PORT} is gone or does not answer" in there
