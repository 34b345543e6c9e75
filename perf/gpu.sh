#!/usr/bin/env bash
# What a GPU can tell of this suite, in one command, with the device's name in each figure.
#
#     perf/gpu.sh [FOLDER]           figures in FOLDER (scratch/gpu), a file a script, and summary.txt
#     perf/gpu.sh --cpu [FOLDER]     the same scripts at tiny sizes on the processor, to try that they run
#
# Each part has its own limit of time, so that a slow one costs no other; exit 1 where one failed or was cut off.
set -uo pipefail
cd "$(dirname "$0")/.."
device=cuda
if [ "${1:-}" = --cpu ]; then device=cpu; shift; fi
out=$(realpath -m "${1:-scratch/gpu}")
mkdir -p "$out"
export PYTHONPATH=$PWD HF_HUB_OFFLINE=1 MLFLOW_DISABLE_TELEMETRY=true
: > "$out/summary.txt"
failed=0

part() { # NAME SECONDS COMMAND…: run it, keep what it prints, and say how it ended
  local name=$1 most=$2; shift 2
  local begin=$SECONDS code=0
  timeout "$most" "$@" > "$out/$name.txt" 2> "$out/$name.err" || code=$?
  [ "$code" = 0 ] || failed=1
  echo "$name: exit $code, $((SECONDS - begin)) s" | tee -a "$out/summary.txt"
}

if [ "$device" = cuda ]; then
  command -v nvidia-smi > /dev/null && nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv > "$out/device.txt"
  part parity 60 python perf/devices.py --device cuda
  part roofline-bf16 60 python perf/roofline.py --device cuda --precision bfloat16
  part roofline-f32 60 python perf/roofline.py --device cuda --precision float32
  part memory 90 python perf/memory.py --device cuda --batch 256 --target 256
  part switches 90 python perf/switches.py --device cuda --compile
  part scoring 60 python perf/scoring.py --device cuda
  part scoring-scale 60 python perf/scoring_scale.py --device cuda --images 4000
  part losses 40 python perf/losses.py --device cuda
  part loader 40 python perf/loader.py --device cuda
  part encode 60 python perf/encode.py --device cuda --images 64
  cell=(--dataset chestxray14 --profile smoke --set training.device=cuda)
else
  part parity 120 python perf/devices.py --device cpu --batch 4
  part roofline-f32 120 python perf/roofline.py --device cpu --side 2 --seconds 0.1
  part memory 240 python perf/memory.py --batch 4 --target 8 --tile 2
  part switches 240 python perf/switches.py --device cpu --repeat 1
  part scoring 240 python perf/scoring.py --images 2 --loop-images 1
  part losses 120 python perf/losses.py --batch 4 --width 32 --grid 4 --repeat 1
  part loader 120 python perf/loader.py --device cpu --images 128
  part scoring-scale 240 python perf/scoring_scale.py --device cpu --images 64 --texts 8 --loop-images 1 --methods clip carzero
  part encode 120 python perf/encode.py --device cpu --images 2 --rounds 1 --encoder efficientnet-lite0
  cell=(--dataset chestxray14 --profile smoke)
fi
# Six methods end to end, then the AUROC of bfloat16 beside that of float32, in a folder of its own.
home=$out/project
mkdir -p "$home" && cp params.yaml "$home"
export CXR_ALIGNBENCH_HOME=$home
methods=all
[ "$device" = cuda ] || methods=clip
part train-float32 240 python -m benchmark run --method "$methods" "${cell[@]}" --json
part train-bfloat16 120 python -m benchmark run --method "$methods" "${cell[@]}" --set training.precision=bfloat16 --json
exit $failed
