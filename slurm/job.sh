#!/bin/bash
# widebatch: one life of a training run under Slurm, which starts this script anew each time the
# job is requeued. `widebatch submit` fills in the words between at signs; a line whose word has no
# value is left out. slurm/README.md tells why each line is there.
#SBATCH --job-name=@NAME@
#SBATCH --nodes=@NODES@
#SBATCH --cpus-per-task=@CPUS@
#SBATCH @WHOLE_NODES@
#SBATCH --chdir=@FOLDER@
#SBATCH --output=@OUTPUT@
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@@SIGNAL@
#SBATCH --dependency=singleton
#SBATCH --array=@ARRAY@
#SBATCH @OPTIONS@
set -u
program=(@PROGRAM@)
arguments=(@ARGUMENTS@)
run=@RUN@
@SWEEP@
launcher=@LAUNCHER@
ranks_a_node=@TASKS@
most_restarts=3 # in a row, without a new checkpoint
restart=${SLURM_RESTART_COUNT:-0}

say() {
    echo "$(date '+%F %T') job $SLURM_JOB_ID, restart $restart: $*"
}

# The step of the newest checkpoint, 0 if there is none.
newest_step() {
    local newest=0 step
    for step in "$run"/checkpoints/step-*; do
        step=${step##*/step-}
        [[ $step =~ ^[0-9]+$ ]] && [ "$step" -gt "$newest" ] && newest=$step
    done
    echo "$newest"
}

(umask 077 && mkdir -p "$run") || exit 7

# ---- A first life is meant to go on, whatever an earlier job was asked for
[ "$restart" -gt 0 ] || rm -f "$run/halt"

# ---- Restarts without progress: "STEP COUNT" in the run folder
step=$(newest_step)
idle=0
if [ "$restart" -gt 0 ] && read -r before idle 2>/dev/null <"$run/restarts"; then
    if [ "$before" = "$step" ]; then idle=$((idle + 1)); else idle=0; fi
fi
if [ "$idle" -gt $most_restarts ]; then
    say "gave up: $most_restarts restarts and still at step $step; submit again once the cause is gone"
    exit 1
fi
echo "$step $idle" >"$run/restarts"

# ---- Threads of a rank. For Slurm a node has one task of as many processors as all its ranks need:
# with --ntasks-per-node, Slurm starts a job of 2 to 4 nodes on 2, though 4 are free.
processors=${SLURM_CPUS_PER_TASK:-}
if [ -z "$processors" ]; then # whole nodes: those of the smallest
    processors=$(tr , '\n' <<<"$SLURM_JOB_CPUS_PER_NODE" | sed 's/(.*//' | sort -n | head -n 1)
fi
threads=$((processors / ranks_a_node))
[ "$threads" -gt 0 ] || threads=1
export OMP_NUM_THREADS=$threads

# ---- The end of the job, before which the program stops by itself; older Slurm does not tell it
if [ -z "${SLURM_JOB_END_TIME:-}" ] &&
    end=$(date -d "$(squeue -h -j "$SLURM_JOB_ID" -o %e)" +%s 2>/dev/null); then
    export SLURM_JOB_END_TIME=$end
fi

# ---- The launcher: srun needs a Slurm that was built with PMIx, mpirun does not
if [ "$launcher" = auto ]; then
    if srun --mpi=list 2>&1 | grep -q pmix; then
        launcher=srun
        say "launcher: srun, which knows pmix"
    else
        launcher=mpirun
        say "launcher: mpirun, since srun knows no pmix (srun --mpi=list)"
    fi
fi
nodes=$SLURM_JOB_NUM_NODES
ranks=$((nodes * ranks_a_node))
if [ "$launcher" = srun ]; then
    # -K: a rank that dies ends all; without it the others would wait for it for ever
    launch=(srun -K --mpi=pmix --nodes="$nodes" --ntasks="$ranks" --ntasks-per-node="$ranks_a_node"
        --cpus-per-task="$threads")
else
    export SLURM_TASKS_PER_NODE="$ranks_a_node(x$nodes)" # where mpirun looks
    # bound to one core, the threads of a rank would share it
    launch=(mpirun -n "$ranks" --map-by "ppr:$ranks_a_node:node" --bind-to none)
fi
say "begins at step $step; nodes: $nodes ($SLURM_JOB_NODELIST), ranks: $ranks, threads a rank: $threads"

# ---- The run: Slurm warns this script (USR1), which tells the ranks; they save and leave with 75.
# TERM comes to the ranks too, but would make srun and mpirun end them at once.
child=
asked=
ask() {
    asked=yes
    [ -z "$child" ] || kill -USR1 "$child" 2>/dev/null
}
trap ask USR1 TERM
"${launch[@]}" "${program[@]}" train "${arguments[@]}" </dev/null &
child=$!
[ -z "$asked" ] || ask
while kill -0 "$child" 2>/dev/null; do
    wait "$child" # also returns when a signal comes
done
wait "$child"
code=$?
trap '' USR1 TERM

# ---- What next
case $code in
0) exit 0 ;;
[2-9])
    say "code $code: not requeued, it would end the same way"
    exit $code
    ;;
esac
if [ -e "$run/halt" ]; then
    say "halted: not requeued"
    exit $code
fi
state=$(squeue -h -j "$SLURM_JOB_ID" -o '%T %r')
case $state in
RUNNING* | *TimeLimit) ;;
*)
    say "code $code, job is $state: not requeued" # cancelled, or Slurm has requeued it
    exit $code
    ;;
esac
if [ "$(newest_step)" = "$step" ] && [ "$idle" -ge $most_restarts ]; then
    say "code $code: gave up, $most_restarts restarts and still at step $step"
    exit $code
fi
say "code $code, newest checkpoint $(newest_step): requeued"
scontrol requeue "$SLURM_JOB_ID" || exit $code
trap - TERM
sleep 600 # until Slurm ends this life
