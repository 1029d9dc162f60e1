#!/bin/sh
# Run a script as two ranks with a slow link between them. Linux, as root.
#
#     examples/distributed/slow_link.sh 1gbit examples/distributed/step8_overlap.py
#
# Each rank has a network namespace of its own, as if it had a machine of its own, and tc slows down
# what it sends. Afterwards nothing is left of it.

rate=$1
shift
one=slow$$-0 two=slow$$-1
trap 'ip netns delete $one; ip netns delete $two' EXIT
set -e
ip netns add $one
ip netns add $two
ip link add eth0 netns $one type veth peer name eth0 netns $two
ip -n $one address add 10.77.0.1/24 dev eth0
ip -n $two address add 10.77.0.2/24 dev eth0
for place in $one $two; do
    ip -n $place link set eth0 up
    ip -n $place link set lo up
    tc -n $place qdisc add dev eth0 root tbf rate $rate burst 256kb latency 50ms
done

export MASTER_ADDR=10.77.0.1 MASTER_PORT=29500 WORLD_SIZE=2 MINITORCH_TRANSPORT=tcp
export OMP_NUM_THREADS=1
RANK=1 ip netns exec $two python "$@" &
RANK=0 ip netns exec $one python "$@"
wait
