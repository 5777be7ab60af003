# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What becomes of tasks that are bound to a CPU which an OS takes: they run elsewhere meanwhile.

. /tests/lib.sh

mkfifo /tmp/nothing
insmod /mint.ko
os=$MINT/os1
groups=/tmp/cgroup

make_os os1 3 128M
put $os/load 1

allowed() {
	[ "$(sed -n 's/^Cpus_allowed_list:\s*//p' "/proc/$1/status")" = "$2" ] || {
		echo "process $1 has $(grep Cpus_allowed_list "/proc/$1/status"), not $2"
		false
	}
}
# worked PID: it has got time on a CPU since.
worked() {
	before=$(cut -d' ' -f14-15 "/proc/$1/stat")
	await sh -c "[ \"\$(cut -d' ' -f14-15 /proc/$1/stat)\" != '$before' ]"
}
busy() {
	while :; do :; done
}

# Pinned: a task that works, and one that sleeps all the time.
busy &
pinned=$!
taskset -p 8 $pinned
cat /tmp/nothing &
asleep=$!
taskset -p 8 $asleep
await grep -q 'State:.*sleeping' /proc/$asleep/status
# One of the kernel's own threads of the CPU
per_cpu=$(pidof cpuhp/3)
check 'start' put $os/start 1
check 'a pinned task may run on all other CPUs' allowed $pinned 0-3
check 'it does' worked $pinned
check 'the threads of the CPU wait for it' allowed "$per_cpu" 3
check 'stop' put $os/stop 1
check 'the task is not pinned any more, as after chcpu' allowed $pinned 0-3
check 'the task that has slept still is' allowed $asleep 3
kill $pinned $asleep

# Partitions of the CPUs by cgroups
mkdir $groups
mount -t cgroup2 cgroup2 $groups
echo +cpuset >$groups/cgroup.subtree_control
mkdir $groups/one $groups/two
echo 3 >$groups/one/cpuset.cpus
echo isolated >$groups/one/cpuset.cpus.partition
busy &
inside=$!
echo $inside >$groups/one/cgroup.procs
check 'there is an isolated partition of the CPU' is $groups/one/cpuset.cpus.partition isolated
put $os/load 1
check 'start takes its CPU' put $os/start 1
check 'it is not a partition any more' sh -c "grep '^isolated invalid' $groups/one/cpuset.cpus.partition"
note "partition: $(cat $groups/one/cpuset.cpus.partition)"
check 'its task runs on other CPUs' allowed $inside 0-2
check 'and works' worked $inside
check 'stop gives it back' put $os/stop 1
check 'it is a partition again' is $groups/one/cpuset.cpus.partition isolated
check 'its task is back' allowed $inside 3
check 'and works' worked $inside
echo member >$groups/one/cpuset.cpus.partition
echo $inside >$groups/two/cgroup.procs
rmdir $groups/one
echo 2-3 >$groups/two/cpuset.cpus
echo isolated >$groups/two/cpuset.cpus.partition
put $os/load 1
check 'start takes one CPU of two' put $os/start 1
check 'it is still a partition' is $groups/two/cpuset.cpus.partition isolated
check 'its task has the other CPU' allowed $inside 2
check 'stop gives that back' put $os/stop 1
check 'its task has both' allowed $inside 2-3
kill $inside
echo member >$groups/two/cpuset.cpus.partition

# SCHED_DEADLINE: three CPUs have no time for four tasks with nine tenths of a CPU.
echo 0-3 >$groups/two/cpuset.cpus
tasks=''
for _ in 1 2 3 4; do
	deadline 90 100 >/tmp/deadline &
	tasks="$tasks $!"
	await grep -q deadline /tmp/deadline
	rm /tmp/deadline
done
put $os/load 1
check 'start refuses a CPU that deadlines need' refuses "$EBUSY" 'it runs SCHED_DEADLINE tasks' $os/start 1
check 'the OS is still loaded' is $os/state loaded
check 'the CPU is online' is /sys/devices/system/cpu/online 0-3
kill ${tasks##* }
check 'start takes it when one of them is gone' await put $os/start 1
check 'stop' put $os/stop 1
kill ${tasks% *}
put $MINT/remove os1
check 'rmmod' rmmod mint
plan
