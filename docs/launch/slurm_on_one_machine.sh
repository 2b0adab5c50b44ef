#!/usr/bin/env bash
# A Slurm of one node on this machine, to try slurm.sbatch: Debian's packages, as root.
#   apt-get install slurm-wlm munge && docs/launch/slurm_on_one_machine.sh
set -euo pipefail
host=$(hostname -s)
cat > /etc/slurm/slurm.conf <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmUser=root
SlurmctldLogFile=/var/log/slurmctld.log
SlurmdLogFile=/var/log/slurmd.log
ReturnToService=2
KillWait=60
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
mkdir -p /var/spool/slurmctld /var/spool/slurmd /run/munge
chown munge:munge /run/munge
[ -e /etc/munge/munge.key ] || /usr/sbin/mungekey
runuser -u munge -- /usr/sbin/munged
slurmctld
slurmd
sleep 2
sinfo
