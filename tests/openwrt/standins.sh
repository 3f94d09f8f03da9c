# What rc.common, procd.sh and functions.sh give an init script. uci, uci.sh, jshn and jshn.sh are OpenWrt's own (tools.sh); the
# rest stands in: each call is a line in $CALLS, and $ROOT/message is what procd would be told over ubus. Sourced by busybox's
# ash before the init script, whose paths run.sh has moved into $ROOT.
# shellcheck shell=dash disable=SC1091,SC3043,SC2034

. "$OPENWRT_TOOLS/jshn.sh"
. "$OPENWRT_TOOLS/uci.sh"

call() {
	printf '%s\n' "$*" >>"$CALLS"
}

# As in /lib/config/uci.sh of today: lists begin anew.
uci_load() {
	local data
	for data in $CONFIG_SECTIONS; do config_clear "$data"; done
	CONFIG_SECTIONS='' CONFIG_NUM_SECTIONS=0
	data=$(uci -c "$ROOT/etc/config" -t "$ROOT/delta" -S -n export "$1" 2>/dev/null) && eval "$data"
}

# procd.sh. Its types are instance.c's: what is not among them is not sent.
strings() {
	local item
	json_add_array "$1"
	shift
	for item in "$@"; do json_add_string "" "$item"; done
	json_close_array
}

procd_open_instance() {
	call procd_open_instance "$@"
	json_add_object "$1"
}

procd_close_instance() {
	call procd_close_instance
	json_close_object
}

procd_set_param() {
	local kind="$1" item
	call procd_set_param "$@"
	shift
	case "$kind" in
	command | netdev | file | respawn | watch)
		strings "$kind" "$@"
		;;
	env | data | limits)
		json_add_object "$kind"
		for item in "$@"; do json_add_string "${item%%=*}" "${item#*=}"; done
		json_close_object
		;;
	nice | term_timeout)
		json_add_int "$kind" "$1"
		;;
	stdout | stderr | no_new_privs)
		json_add_boolean "$kind" "$1"
		;;
	user | group | capabilities | seccomp | pidfile | facility)
		json_add_string "$kind" "$1"
		;;
	*)
		call "no such parameter: $kind"
		;;
	esac
}

procd_add_jail() {
	local flag
	call procd_add_jail "$@"
	json_add_object jail
	json_add_string name "$1"
	shift
	for flag in "$@"; do
		case "$flag" in
		log | ubus | procfs | sysfs | ronly | requirejail | netns | userns | cgroupsns) json_add_boolean "$flag" 1 ;;
		*) call "no such flag of a jail: $flag" ;;
		esac
	done
	json_add_object mount
	json_close_object
	json_close_object
}

jail_mounts() {
	local manner="$1" path
	shift
	json_select jail
	json_select mount
	for path in "$@"; do json_add_string "$path" "$manner"; done
	json_select ..
	json_select ..
}

procd_add_jail_mount() {
	call procd_add_jail_mount "$@"
	jail_mounts 0 "$@"
}

procd_add_jail_mount_rw() {
	call procd_add_jail_mount_rw "$@"
	jail_mounts 1 "$@"
}

procd_open_data() {
	json_add_object data
}

procd_close_data() {
	json_close_object
}

procd_add_mdns_service() {
	call procd_add_mdns_service "$@"
	json_add_object "$1_$3"
	json_add_string service "_$1._$2.local"
	json_add_int port "$3"
	shift 3
	[ $# = 0 ] || strings txt "$@"
	json_close_object
}

procd_add_mdns() {
	call procd_add_mdns "$@"
	procd_open_data
	json_add_object mdns
	procd_add_mdns_service "$@"
	json_close_object
	procd_close_data
}

# trigger EVENT FIELD VALUE: [event, [if, [eq, field, value], [run_script, ...]], delay]
trigger() {
	json_add_array ""
	json_add_string "" "$1"
	json_add_array ""
	json_add_string "" if
	strings "" eq "$2" "$3"
	strings "" run_script /etc/init.d/weir reload
	json_close_array
	json_add_int "" "$PROCD_RELOAD_DELAY"
	json_close_array
}

procd_add_reload_trigger() {
	call procd_add_reload_trigger "$@"
	trigger config.change package "$1"
}

procd_add_reload_interface_trigger() {
	call procd_add_reload_interface_trigger "$1"
	trigger 'interface.*' interface "$1"
}

# Its data is for whoever asks "ubus call service validate".
procd_add_validation() {
	call procd_add_validation "$1"
	json_select ..
	json_add_array validate
	"$@"
	json_close_array
	json_select triggers
}

procd_set_config_changed() {
	call procd_set_config_changed "$@"
}

procd_send_signal() {
	call procd_send_signal "$@"
}

# procd.sh's own, but for the path.
uci_load_validate() {
	local _package="$1" _type="$2" _name="$3" _function="$4" _option _result _values
	shift 4
	for _option in "$@"; do
		eval "local ${_option%%:*}"
	done
	_values=$("$ROOT/sbin/validate_data" "$_package" "$_type" "$_name" "$@" 2>/dev/null)
	_result=$?
	eval "$_values"
	[ -n "$_function" ] || return $_result
	"$_function" "$_name" "$_result"
}

ubus() {
	cat "$ROOT/ubus"
}

jsonfilter() {
	sed -n 's/.*"pid": *\([0-9]*\).*/\1/p'
}

# rc.common's order of things.
start() {
	call procd_open_service weir
	json_init
	json_add_string name weir
	json_add_object instances
	start_service "$@"
	json_close_object
	json_add_array triggers
	service_triggers
	json_close_array
	json_add_object data
	service_data
	json_close_object
	json_dump >"$ROOT/message"
	call procd_close_service set
	service_started
	return 0
}
