#!/usr/bin/env bash
# PyTorch + transformers + TRL peer of the Rust RLHF workspace.
#   peer.sh WORK[,WORK...] --model tiny|small|gpt2ish|smol135|DIR --batch B --prompt P --response R --threads N --seconds S
#   peer.sh flops [--seconds S] [RESULTS.jsonl]     limits of this machine + fraction each result reached
# The first call installs a cached venv (about 6 GiB, 2 minutes); works ending in -trl add a small second one.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/rlhf-peer"
# transformers is shared by both environments.
base=(torch==2.15.0 transformers==5.24.0 safetensors==0.8.0 tokenizers==0.23.3 numpy==2.4.6)
# 1.12.0 is the last trl release with a PPOTrainer (trl.experimental.ppo); 1.13.0 removed it.
trl=(trl==1.12.0 accelerate==1.15.0 datasets==5.2.0)
python="${PYTHON:-python3}"
mkdir -p "$cache"
exec 9>"$cache/.lock"; flock 9
make_venv() { # dir stamp-text packages...
  local dir="$1" want="$2"; shift 2
  [ "$(cat "$dir/.spec" 2>/dev/null)" = "$want" ] && return 0
  echo "peer.sh: installing $want into $dir" >&2
  [ -x "$dir/bin/python" ] || "$python" -m venv "$dir"
  if [ "$dir" = "$cache/venv-trl" ]; then  # torch and transformers come from the first venv
    local sp; sp="$("$dir/bin/python" -c 'import sysconfig;print(sysconfig.get_paths()["purelib"])')"
    "$cache/venv/bin/python" -c 'import sysconfig;print(sysconfig.get_paths()["purelib"])' > "$sp/zz_peer_base.pth"
  fi
  "$dir/bin/python" -m pip install -q "$@" >&2
  echo "$want" > "$dir/.spec"
}
make_venv "$cache/venv" "${base[*]}" "${base[@]}"
case ",${1:-}," in *-trl,*|*,all,*) make_venv "$cache/venv-trl" "${trl[*]}" "${trl[@]}";; esac
flock -u 9; exec 9>&-
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRL_EXPERIMENTAL_SILENCE=1 TOKENIZERS_PARALLELISM=false CUDA_VISIBLE_DEVICES= RLHF_PEER_CACHE="$cache"
if [ "${1:-}" = flops ]; then shift; exec "$cache/venv/bin/python" "$here/flops.py" "$@"; fi
exec "$cache/venv/bin/python" "$here/peer.py" "$@"
