# Stand-ins for what rc.common, procd.sh, jshn.sh and functions.sh give an init script. Each call is a line in $CALLS.
# Sourced by busybox's ash before the init script, whose paths run.sh has moved into $ROOT.
# shellcheck shell=dash disable=SC3043

call() {
	printf '%s\n' "$*" >>"$CALLS"
}

for name in procd_open_instance procd_close_instance procd_set_param procd_append_param procd_add_jail \
	procd_add_jail_mount procd_add_jail_mount_rw procd_add_mdns procd_add_mdns_service procd_open_data \
	procd_close_data procd_add_reload_trigger procd_add_reload_interface_trigger procd_set_config_changed \
	procd_send_signal json_add_object json_close_object json_add_array json_close_array json_add_string; do
	eval "$name() { call $name \"\$@\"; }"
done

config_load() {
	:
}

# config_list_foreach SECTION OPTION FUNCTION
config_list_foreach() {
	local item items
	items=$("$ROOT/sbin/validate_data" --list "$1" "$2" | tr '\n\0' '\001\n')
	[ -n "$items" ] || return 0
	while IFS= read -r item; do
		"$3" "$(printf '%s' "$item" | tr '\001' '\n')"
	done <<-END
		$items
	END
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

# Called without a section, for what ubus shows.
procd_add_validation() {
	call procd_add_validation "$1"
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
	start_service "$@"
	service_triggers
	service_data
	call procd_close_service set
	service_started
	return 0
}
