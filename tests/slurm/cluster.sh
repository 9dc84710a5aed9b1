#!/usr/bin/env bash
# A real SLURM on this machine alone: one node of 4 CPUs, on loopback. Needs root, and Debian's slurm-wlm and munge.
#
#     tests/slurm/cluster.sh start FOLDER     # configuration, state and logs go there; prints the value of SLURM_CONF
#     tests/slurm/cluster.sh stop FOLDER
#
# Two partitions: jobs of `high` preempt those of `low`, which get SIGTERM, 60 seconds, and are requeued.
set -euo pipefail
command=$1
folder=$(realpath -m "$2")
conf=$folder/slurm.conf

stop() {
  export SLURM_CONF=$conf
  for _ in $(seq 100); do # what still runs would outlive the daemons
    jobs=$(timeout 5 squeue --noheader --format=%A 2>/dev/null) && [ -n "$jobs" ] || break
    scancel $jobs 2>/dev/null || true
    sleep 0.2
  done
  for daemon in slurmd slurmctld munged; do
    [ -f "$folder/$daemon.pid" ] || continue
    pid=$(cat "$folder/$daemon.pid")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do # slurmctld saves its state, which is not to be that of the next cluster
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
  done
}

if [ "$command" = stop ]; then
  stop
  exit
fi

mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
head -c 64 /dev/urandom > "$folder/munge/key"
chmod 700 "$folder/munge"
chmod 400 "$folder/munge/key"
host=$(hostname -s)
cat > "$conf" <<EOF
ClusterName=coseg
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=30
EnforcePartLimits=NO
MinJobAge=3600
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=low Nodes=$host Default=YES PriorityTier=1 GraceTime=60 PreemptMode=REQUEUE OverSubscribe=NO MaxTime=60
PartitionName=high Nodes=$host PriorityTier=10 PreemptMode=OFF OverSubscribe=NO MaxTime=60
EOF
chown -R munge: "$folder/munge"
munged() { setpriv --reuid=munge --regid=munge --clear-groups munged "$@"; }
munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
  --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
cp "$folder/munge/pid" "$folder/munged.pid"
slurmctld -f "$conf"
slurmd -f "$conf" -N "$host"
export SLURM_CONF=$conf
for _ in $(seq 60); do
  if [ "$(sinfo --noheader --partition=low --format=%t 2>/dev/null)" = idle ]; then
    echo "$conf"
    exit
  fi
  sleep 0.5
done
tail -n 20 "$folder"/*.log >&2
stop
exit 1
