#!/usr/bin/env bash
# Sets a Jetson up for a language model: shows what could be done, why, and at which risk; does what it is told to;
# undoes it.
# usage: tools/setup_jetson.sh                         what each step would change here (nothing is changed)
#        sudo tools/setup_jetson.sh --apply STEP...    does these steps, and keeps a record of what was before
#        sudo tools/setup_jetson.sh --revert [STEP...] undoes them, all that are in the record or those named
# steps: power-mode=NAME  clocks  headless  no-zram  drop-caches
# Nothing is installed or downloaded. --root FOLDER (or JLLM_ROOT) takes the system's files from a folder: for tests.
set -euo pipefail
# shellcheck source=tools/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

root=${JLLM_ROOT:-}
mode=show
wanted=()

usage() { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

while [ $# -gt 0 ]; do
  case "$1" in
    --apply) mode=apply ;;
    --revert) mode=revert ;;
    --root)
      [ $# -ge 2 ] || die '--root needs a folder'
      root=$2
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    power-mode=?* | clocks | headless | no-zram | drop-caches) wanted+=("$1") ;;
    power-mode) if [ "$mode" = revert ]; then wanted+=("$1"); else die 'say which: power-mode=NAME'; fi ;;
    *)
      warn "unknown: $1"
      usage >&2
      exit 2
      ;;
  esac
  shift
done

record_dir="$root/var/lib/jllm"
record="$record_dir/setup_jetson.record"
drop_in="$root/etc/systemd/system/jllm.service.d/drop-caches.conf"

# ---- the record: one line a step, "STEP VALUE", the value being what was before ------------------------------

recorded() { [ -f "$record" ] && grep -q "^$1 " "$record"; }
before() { sed -n "s/^$1 //p" "$record"; }

# Written before the change, so that what an interruption leaves half done can be undone. The first value stays: a step
# that is done twice must not take its own work for what was before.
remember() {
  if recorded "$1"; then return; fi
  mkdir -p "$record_dir"
  printf '%s %s\n' "$1" "$2" >>"$record"
  sync "$record"
}

forget() {
  sed -i "/^$1 /d" "$record"
  if [ ! -s "$record" ]; then rm -f "$record"; fi
}

# ---- what is here --------------------------------------------------------------------------------------------

# "36.4.7" of "# R36 (release), REVISION: 4.7, ..."; nothing where this is no Jetson.
release() {
  sed -n 's/^# R\([0-9]*\) (release), REVISION: \([0-9.]*\),.*/\1.\2/p' "$root/etc/nv_tegra_release" 2>/dev/null || true
}
model() { tr -d '\0' 2>/dev/null <"$root/proc/device-tree/model" || true; }
power_modes() {
  sed -n 's/^[[:space:]]*<[[:space:]]*POWER_MODEL[[:space:]]\{1,\}ID=\([0-9]*\)[[:space:]]\{1,\}NAME=\([^ >]*\).*/\1 \2/p' \
    "$root/etc/nvpmodel.conf" 2>/dev/null || true
}
power_mode_id() {
  local id
  id=$(sed -n 's/.*pmode:\([0-9]*\).*/\1/p' "$root/var/lib/nvpmodel/status" 2>/dev/null || true)
  if [ -n "$id" ]; then printf '%d' $((10#$id)); fi
}
power_mode_name() { power_modes | awk -v id="$1" '$1 == id { print $2 }'; }
default_target() { systemctl get-default 2>/dev/null || true; }
zram_state() { systemctl is-enabled nvzramconfig 2>/dev/null || true; }

why() { say "    why   $*"; }
risk() { say "    risk  $*"; }
state() { say "    now   $*"; }
did() { say "    done  $*"; }
would() { say "    here  $*"; }

# ---- the steps: each has what it says, what it does, and what undoes it --------------------------------------

about_power_mode() {
  local id
  id=$(power_mode_id)
  say 'power-mode=NAME'
  why 'the mode decides how many SMs the GPU has and how fast its memory is; tokens/s follow the memory. An Orin Nano Super'
  why 'in 15W has 68 GB/s, in 25W 102. Ids differ between boards, so modes are called by name here.'
  risk 'more power, more heat. A mode with another number of SMs needs a reboot. MAXN_SUPER has no caps at all.'
  risk 'A plan is made for a mode: jllmc targets DEVICE lists them.'
  state "${id:+$(power_mode_name "$id") }(of: $(power_modes | awk '{ printf "%s%s", (NR > 1 ? " " : ""), $2 }'))"
}
apply_power_mode() {
  local name=$1 id old
  id=$(power_modes | awk -v name="$name" '$2 == name { print $1 }')
  [ -n "$id" ] || die "power-mode=$name: /etc/nvpmodel.conf has only: $(power_modes | awk '{ printf "%s ", $2 }')"
  old=$(power_mode_id)
  [ -n "$old" ] || die '/var/lib/nvpmodel/status does not say which power mode is set'
  if [ "$old" = "$id" ]; then
    state "already $name"
    return
  fi
  remember power-mode "$old"
  set_power_mode "$id" "$name"
}
# nvpmodel asks whether to reboot where it must; that is the user's to say.
set_power_mode() {
  command -v nvpmodel >/dev/null || die 'nvpmodel is not here'
  echo no | nvpmodel -m "$1" | sed 's/^/          /' || true
  if [ "$(power_mode_id)" = "$1" ]; then
    did "$2"
  else
    did "nvpmodel has not taken it: it needs a reboot. Run: sudo nvpmodel -m $1    and let it reboot"
  fi
}
revert_power_mode() { set_power_mode "$1" "$(power_mode_name "$1")"; }

about_clocks() {
  say 'clocks'
  why "jetson_clocks holds all clocks at the maximum of the power mode: no time is lost until they rise."
  risk 'more power and heat even when nothing is asked of the model. It lasts until the next boot.'
}
apply_clocks() {
  command -v jetson_clocks >/dev/null || die 'jetson_clocks is not here'
  if ! recorded clocks; then
    mkdir -p "$record_dir"
    rm -f "$record_dir/clocks.conf"
    jetson_clocks --store "$record_dir/clocks.conf"
  fi
  remember clocks "$record_dir/clocks.conf"
  jetson_clocks
  did 'clocks are at their maximum'
}
revert_clocks() {
  jetson_clocks --restore "$1"
  rm -f "$1"
  did 'clocks as before'
}

about_headless() {
  say 'headless'
  why 'without a desktop 0.8 GB more are free for the model.'
  risk 'from the next boot on there is no graphical login: be sure that ssh or a serial console works.'
  state "$(default_target)"
}
apply_headless() {
  local old
  old=$(default_target)
  [ -n "$old" ] || die 'systemctl get-default gave no answer'
  if [ "$old" = multi-user.target ]; then
    state 'already without a desktop'
    return
  fi
  remember headless "$old"
  systemctl set-default multi-user.target >/dev/null 2>&1
  did 'multi-user.target, from the next boot on'
}
revert_headless() {
  systemctl set-default "$1" >/dev/null 2>&1
  did "$1, from the next boot on"
}

about_no_zram() {
  say 'no-zram'
  why 'the GPU'"'"'s memory can neither be swapped nor compressed: swap on zram, half of the memory by default, does nothing for'
  why 'the model itself.'
  risk 'other programs'"'"' memory can then not be compressed to make room either: where these need more than there is, the'
  risk 'system ends one. Leave it on unless you know that they do not.'
  state "nvzramconfig: $(zram_state)"
}
apply_no_zram() {
  if [ "$(zram_state)" != enabled ]; then
    state "nvzramconfig is not enabled"
    return
  fi
  remember no-zram enabled
  systemctl disable nvzramconfig >/dev/null 2>&1
  did 'off from the next boot on'
}
revert_no_zram() {
  systemctl enable nvzramconfig >/dev/null 2>&1
  did 'on from the next boot on'
}

# Why this system gains from an empty page cache; nothing where it does not.
drop_caches_reason() {
  local version
  version=$(release)
  case "$version" in
    35.6.3 | 36.4.7 | 38.2.2) echo "L4T $version refuses allocations (NvMap error 12) although memory could be freed; a newer release mends it" ;;
    38.*) echo "L4T $version holds memory that programs have freed until the page cache is dropped" ;;
  esac
}
about_drop_caches() {
  local reason
  reason=$(drop_caches_reason)
  say 'drop-caches'
  why 'some releases need an empty page cache when the model is loaded. jllm does not fill it with weights itself.'
  risk 'files are read anew from disk after each start of jllm.service, by all programs.'
  would "${reason:-not needed on L4T $(release)}"
}
apply_drop_caches() {
  local reason
  reason=$(drop_caches_reason)
  if [ -z "$reason" ]; then
    state "not needed on L4T $(release): nothing done"
    return
  fi
  if [ -f "$drop_in" ]; then
    state 'already there'
    return
  fi
  remember drop-caches "$drop_in"
  mkdir -p "${drop_in%/*}"
  cat >"$drop_in" <<UNIT
# Written by tools/setup_jetson.sh: $reason
[Service]
ExecStartPre=+/bin/sh -c 'sync; echo 3 >/proc/sys/vm/drop_caches'
UNIT
  systemctl daemon-reload
  did "${drop_in#"$root"}, at each start of jllm.service"
}
revert_drop_caches() {
  rm -f "$1"
  rmdir "${1%/*}" 2>/dev/null || true
  systemctl daemon-reload
  did "${1#"$root"} removed"
}

# ---- ---------------------------------------------------------------------------------------------------------

# In this order, and undone in the reverse one: the clocks' maximum is that of the mode.
all_steps=(power-mode clocks headless no-zram drop-caches)

argument_of() {
  local step
  for step in "${wanted[@]}"; do
    if [ "${step%%=*}" = "$1" ]; then
      printf '%s' "$step"
      return 0
    fi
  done
  return 1
}

apply() {
  local step argument
  [ ${#wanted[@]} -gt 0 ] || die "--apply needs steps by name: ${all_steps[*]}"
  for step in "${all_steps[@]}"; do
    argument=$(argument_of "$step") || continue
    "about_${step//-/_}"
    "apply_${step//-/_}" "${argument#*=}"
  done
  if [ -f "$record" ]; then say "what was before is in ${record#"$root"}; --revert goes back to it"; fi
}

revert() {
  local i step
  if [ ! -f "$record" ]; then
    say 'nothing to undo: there is no record'
    return
  fi
  for ((i = ${#all_steps[@]} - 1; i >= 0; --i)); do
    step=${all_steps[i]}
    if ! recorded "$step" || { [ ${#wanted[@]} -gt 0 ] && ! argument_of "$step" >/dev/null; }; then continue; fi
    say "$step"
    "revert_${step//-/_}" "$(before "$step")"
    forget "$step"
  done
}

show() {
  local step
  say "$(model), L4T $(release). Nothing is changed by this: --apply STEP... does."
  for step in "${all_steps[@]}"; do
    say ''
    "about_${step//-/_}"
    if recorded "$step"; then state "done by this script; before: $(before "$step")"; fi
  done
  say ''
  say 'Left alone on purpose: overcommit, ulimit -l and the size of CMA. None of them decides what the GPU can have.'
}

if [ -z "$(release)" ]; then
  die "this is no Jetson: ${root}/etc/nv_tegra_release is not there or says no release"
fi
if [ "$mode" != show ] && [ -z "$root" ] && [ "$(id -u)" != 0 ]; then die "--$mode needs root's rights: sudo $0 ..."; fi
"$mode"
