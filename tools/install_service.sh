#!/usr/bin/env bash
# Installs `jllm serve` as a systemd service: unit, settings in /etc/jllm/jllm.env, the GPU's nodes that this machine has.
# usage: tools/install_service.sh                     what would be done (nothing is changed)
#        sudo tools/install_service.sh --apply [--plan FILE.jllm] [--program FILE] [--start]
#        sudo tools/install_service.sh --uninstall    stops and removes it; settings and plans stay
#   --plan FILE     puts it in place as /var/lib/jllm/model.jllm (by `jllm install`: whole, or not at all)
#   --program FILE  copies this jllm to /usr/bin/jllm; not needed where a package has installed it
#   --start         starts it now, and at each boot
# --root FOLDER (or JLLM_ROOT): into the system whose root that is, as an image that is being made; nothing is started.
set -euo pipefail

root=${JLLM_ROOT:-}
mode=show
plan=''
program=''
start=0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf '%s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
usage() { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

while [ $# -gt 0 ]; do
  case "$1" in
    --apply) mode=apply ;;
    --uninstall) mode=uninstall ;;
    --start) start=1 ;;
    --plan | --program | --root)
      [ $# -ge 2 ] || die "$1 needs a value"
      declare "${1#--}=$2"
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

# A package has brought the unit already; from a clone it is copied to where the administrator's units are.
packaged="$root/usr/lib/systemd/system/jllm.service"
sources="$here/../packaging/systemd"
unit="$root/etc/systemd/system/jllm.service"
devices="$root/etc/systemd/system/jllm.service.d/devices.conf"
settings="$root/etc/jllm/jllm.env"
plans="$root/var/lib/jllm"
jllm="$root/usr/bin/jllm"

# The GPU's nodes, one a line, as the system names them.
gpu_nodes() {
  local pattern node
  for pattern in nvmap 'nvhost-*' 'nvgpu/*' 'nvgpu/*/*' 'nvidia[0-9]*' nvidiactl nvidia-uvm nvidia-uvm-tools \
      nvidia-modeset 'nvidia-caps/*' 'dri/render*' 'nvsciipc' host1x-fence; do
    for node in "$root"/dev/$pattern; do
      # In tests plain files stand for the nodes.
      if [ -c "$node" ] || { [ -n "$root" ] && [ -f "$node" ]; }; then say "${node#"$root"}"; fi
    done
  done
}

act() {
  say "  $*"
  if [ "$mode" != show ]; then "$@"; fi
}
# The systemd that runs here knows nothing of another root.
reload() { if [ -z "$root" ]; then act systemctl daemon-reload; fi; }
# write FILE MODE: what comes on standard input.
write() {
  say "  write $1"
  if [ "$mode" = show ]; then return; fi
  mkdir -p "${1%/*}"
  # A file of its own and a rename: systemd never reads half of it.
  cat >"$1.new"
  chmod "$2" "$1.new"
  mv "$1.new" "$1"
}

install_service() {
  local nodes staged
  staged=$(mktemp)
  # shellcheck disable=SC2064  # the name of now
  trap "rm -f '$staged'" EXIT
  if [ -n "$program" ]; then
    [ -x "$program" ] || die "--program $program: no program"
    act install -D -m 755 "$program" "$jllm"
  fi
  [ -x "$jllm" ] || [ "$mode" = show ] || die "$jllm is not here: install the package, or say --program build/bin/jllm"
  if [ "$mode" = apply ] && ! "$jllm" serve --help >/dev/null 2>&1; then
    "$jllm" --help >/dev/null 2>&1 || die "$jllm cannot be run here: is it built for another kind of machine?"
    die "$jllm has no \`serve\`: it was built without cpp-httplib (tools/get_httplib.sh)"
  fi
  if [ -f "$packaged" ]; then
    say "  the unit is the package's: ${packaged#"$root"}"
  else
    write "$unit" 644 <"$sources/jllm.service"
    write "$root/usr/lib/sysusers.d/jllm.conf" 644 <"$sources/jllm.sysusers"
  fi
  if [ -f "$settings" ]; then
    say "  ${settings#"$root"} is there: left as it is"
  else
    write "$settings" 600 <"${settings_source:-$sources/jllm.env}"
  fi
  nodes=$(gpu_nodes)
  if [ -n "$nodes" ]; then
    say "# Written by install_service.sh: the nodes of the GPU of this machine.
[Service]
DeviceAllow=${nodes//$'\n'/$' rw\nDeviceAllow='} rw" >"$staged"
    write "$devices" 644 <"$staged"
  else
    say '  no node of a GPU here: plans for the host run, no others'
  fi
  act install -d -m 755 "$plans"
  if [ -n "$plan" ]; then
    [ -f "$plan" ] || die "--plan $plan: no such file"
    act "$jllm" install "$plan" --to "$plans/model.jllm"
  fi
  act systemd-sysusers ${root:+"--root=$root"}
  reload
  if [ "$start" = 1 ]; then
    act systemctl ${root:+"--root=$root"} enable jllm.service
    if [ -z "$root" ]; then act systemctl restart jllm.service; fi
  else
    say '  then: systemctl enable --now jllm    (--start does it)'
  fi
}

uninstall() {
  if [ -z "$root" ]; then act systemctl disable --now jllm.service; else act systemctl "--root=$root" disable jllm.service; fi
  act rm -f "$devices"
  if [ -f "$packaged" ]; then
    say '  the unit is the package'"'"'s: apt remove jllm removes it'
  else
    act rm -f "$unit" "$root/usr/lib/sysusers.d/jllm.conf"
  fi
  reload
  say "  left: ${settings#"$root"}, ${plans#"$root"}, ${jllm#"$root"}"
}

# In a package this script and the settings' pattern lie in /usr/share/jllm.
if [ -f "$here/jllm.env" ]; then settings_source="$here/jllm.env"; fi
if [ "$mode" != show ] && [ -z "$root" ] && [ "$(id -u)" != 0 ]; then die "--$mode needs root's rights: sudo $0 ..."; fi
case "$mode" in
  show)
    say 'Nothing is changed by this; --apply would do:'
    install_service
    ;;
  apply) install_service ;;
  uninstall) uninstall ;;
esac
