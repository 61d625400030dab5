#!/bin/sh
#PBS -N example
#PBS -l select=1:ncpus=2:mem=4gb
#PBS -l walltime=01:00:00
#
# A job of PBS: qsub -v COMMAND='./analysis 7' job.sh. PBS has no variables for what was
# requested but NCPUS, so the requests are repeated here. The node is PBS_JOBID. Without
# apmon-bg the command runs alone.
: "${COMMAND:?is not set: qsub -v COMMAND=...}"
cd "${PBS_O_WORKDIR:-.}" || exit 1
apmon=${APMON_BG:-/usr/bin/apmon-bg}
[ -x "$apmon" ] || exec bash -c "$COMMAND"
exec "$apmon" exec --cpus "${NCPUS:-2}" --memory 4GiB --time-limit 1h \
	--summary "usage.$PBS_JOBID.json" --series "series.$PBS_JOBID.tsv" -- \
	bash -c "$COMMAND"
