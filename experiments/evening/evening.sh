#!/usr/bin/env bash
# From a folder of photos to a model in one evening: evening.sh PHOTOS [TIME OF THE SWEEP] [TIME OF THE LAST TRAINING]
set -euo pipefail
photos=$1 sweep=${2:-10min} training=${3:-10min}

gensweep init --data "$photos" --time "$sweep" -o evening.yaml
gensweep tune evening.yaml --name evening --for "$sweep" --report live.html   # open live.html in a browser
gensweep sweeps
gensweep best --compare evening -o verdict.html
gensweep best evening -o best.yaml
gensweep train best.yaml --name longer --init-from evening --for "$training"
gensweep best --compare -o verdict.html
gensweep sample longer -n 64 -o samples.png
gensweep export longer --to safetensors -o model --force
