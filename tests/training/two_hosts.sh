#!/usr/bin/env bash
# Trains on two machines that are network namespaces of this one: two_hosts.sh RUN OPTION…, as root.
# RUN is the run folder, which both see. What each says goes to RUN.0.log and RUN.1.log.
set -euo pipefail
run="$1"
shift
bin="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.venv/bin" && pwd -P)"

hosts=(towers-one towers-two)
cleanup() { for host in "${hosts[@]}"; do ip netns delete "$host" 2>/dev/null || true; done; }
trap cleanup EXIT
cleanup
for host in "${hosts[@]}"; do ip netns add "$host"; done
ip link add cable0 netns "${hosts[0]}" type veth peer name cable1 netns "${hosts[1]}"
for number in 0 1; do
    ip -n "${hosts[number]}" address add "10.77.0.$((number + 1))/24" dev "cable$number"
    for device in lo "cable$number"; do ip -n "${hosts[number]}" link set "$device" up; done
done
pids=()
for number in 0 1; do
    GLOO_SOCKET_IFNAME="cable$number" ip netns exec "${hosts[number]}" "$bin/torchrun" --nnodes=2 --node-rank="$number" \
        --nproc-per-node=1 --master-addr=10.77.0.1 --master-port=29500 --no-python \
        "$bin/towers" train run="$run" "$@" >"$run.$number.log" 2>&1 &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
tail -n 5 "$run.0.log" "$run.1.log"
exit "$status"
