#!/usr/bin/env bash
# Install SLURM from Debian's packages and start a cluster of this one machine, without systemd.
# Call it as root; a cluster that answers is left alone. Logs: /tmp/nls-slurm. Where nothing can be installed it ends with 3.
set -euo pipefail

STATE=/tmp/nls-slurm

refuse() {
    echo "no SLURM cluster: $1" >&2
    exit 3
}

if sinfo --noheader > /dev/null 2>&1; then
    exit 0
fi
[ "$(id -u)" = 0 ] || refuse "installing and starting one needs root"
if ! command -v slurmctld slurmd munged > /dev/null; then
    command -v apt-get > /dev/null || refuse "installing one needs apt-get (Debian or Ubuntu)"
    apt-get update -qq || refuse "apt-get update failed"
    # Nothing is started by the packages: there may be no systemd, and the configuration is still missing.
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y slurm-wlm munge > /dev/null \
        || refuse "apt-get install slurm-wlm munge failed"
    rm /usr/sbin/policy-rc.d
fi

rm -rf "$STATE"
mkdir -p "$STATE"/{controller,node} /run/munge
[ -f /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none
chown -R munge: /etc/munge /run/munge /var/lib/munge /var/log/munge
chmod 0400 /etc/munge/munge.key
chmod 0755 /run/munge
pgrep -x munged > /dev/null || runuser -u munge -- munged

host=$(hostname -s)
cat > /etc/slurm/slurm.conf << CONF
ClusterName=nls
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$STATE/controller
SlurmdSpoolDir=$STATE/node
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=15
MinJobAge=86400
GresTypes=gpu
NodeName=$host Gres=gpu:1 NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 - 200)) State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=$host MaxTime=INFINITE State=UP
CONF
# A GPU that can be asked for and counted, though there is none.
echo "NodeName=$host Name=gpu File=/dev/null" > /etc/slurm/gres.conf

slurmctld
slurmd
for _ in $(seq 30); do
    if [ "$(sinfo --noheader --partition main --format %T 2> /dev/null)" = idle ]; then
        exit 0
    fi
    sleep 1
done
tail -n 20 "$STATE"/*.log >&2
echo "no SLURM cluster: the node did not become idle within 30 s; its logs are in $STATE" >&2
exit 1
