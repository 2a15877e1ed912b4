#!/bin/bash
# Simulates machines of up to 256 cores and 100,000 tasks and writes the table of docs/scaling.md.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
. scripts/toolchain.sh
rows=$(SCALING=full cargo test -q -p libkernel --release --lib the_queues_stay_even_as_the_machine_grows -- --nocapture | grep '^|')
printf '%s\n' "$rows" >target/scaling.rows
sed -i -e '/^<!-- table -->$/,/^<!-- end -->$/{/^| [0-9]/d}' -e '/^|---|---|---|---|---|---|$/r target/scaling.rows' docs/scaling.md
printf '%s\n' "$rows"
