# What postern runs over ssh, in the remote sh. MARK comes from the caller. Changes nothing; `copy` leaves nothing.
LC_ALL=C; export LC_ALL
PATH="$PATH:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"; export PATH
umask 077

begin() { printf '\n%s < %s\n' "$MARK" "$1"; }
finish() { printf '\n%s > %s\n' "$MARK" "$1"; }
say() { printf '%s\n' "$1"; }
have() { command -v "$1" >/dev/null 2>&1; }

limit= patience=
if have timeout; then limit='timeout 60' patience='timeout 900'; fi

uid=$(id -u)
if [ "$uid" = 0 ]; then sudo=needless
elif ! have sudo; then sudo=absent
elif $limit sudo -n true </dev/null >/dev/null 2>&1; then sudo=allowed
else sudo=refused
fi

program= version=
if have postern; then
    program=$(command -v postern)
    version=$($limit "$program" --version </dev/null 2>/dev/null | head -n 1)
fi

begin probe
say "system=$(uname -s)"
say "machine=$(uname -m)"
say "uid=$uid"
say "user=$(id -un 2>/dev/null)"
say "sudo=$sudo"
say "program=$program"
say "version=$version"
finish 0

# A sudoers file may allow this one command and not `true`.
may_as_root() {
    case $sudo in
        allowed) return 0 ;;
        refused) sudo -n -l -- "$@" </dev/null >/dev/null 2>&1 ;;
        *) return 1 ;;
    esac
}

# The report of the program $1, as root where that is allowed.
report() {
    if may_as_root "$1" host -o json; then
        begin report-as-root
        $limit sudo -n -- "$1" host -o json </dev/null
        status=$?
        finish "$status"
        [ "$status" != 0 ] || return 0
    fi
    begin report
    $limit "$1" host -o json </dev/null
    finish "$?"
}

# Looks from here with the program $1 at what the job says. It ends by itself when nobody reads its output any more.
look() {
    begin look
    printf '%s\n' "$job" | "$1" look
    finish "$?"
}

# Takes $1 bytes of a program from the input, does $2 with it, and removes it whatever happens.
copy() {
    work=
    trap '[ -z "$work" ] || rm -rf -- "$work"' EXIT
    trap 'exit 129' HUP INT PIPE TERM
    for parent in "${TMPDIR:-/tmp}" "${XDG_RUNTIME_DIR:-}" "${HOME:-}" /var/tmp; do
        [ -n "$parent" ] && [ -d "$parent" ] && [ -w "$parent" ] || continue
        work=$(mktemp -d "$parent/.postern.XXXXXXXXXX" 2>/dev/null) || { work=; continue; }
        # An empty program does nothing, and fails where the file system takes no programs (noexec).
        : >"$work/postern" && chmod 700 "$work/postern" && "$work/postern" >/dev/null 2>&1 </dev/null && break
        rm -rf -- "$work"
        work=
    done
    begin copy
    if [ -z "$work" ]; then
        say 'no directory of this user takes programs: $TMPDIR or /tmp, $XDG_RUNTIME_DIR, $HOME, /var/tmp'
        finish 1
        return
    fi
    $patience cat >"$work/postern"
    size=$(wc -c <"$work/postern")
    if [ "$size" -ne "$1" ]; then
        say "only $size of $1 bytes could be written to $work"
        finish 1
        return
    fi
    finish 0
    "$2" "$work/postern"
}

as_root() {
    if [ "$sudo" = allowed ]; then $limit sudo -n -- "$@"; else $limit "$@"; fi
}

# A section of its own for the output of a command; 127: there is no such command.
section() {
    begin "$1"
    shift
    if have "$1"; then
        as_root "$@" 2>/dev/null
        finish "$?"
    else
        finish 127
    fi
}

# Numbers in place of the names of routing tables, where this ip can do that.
ip_json() {
    begin "$1"
    shift
    if ! have ip; then finish 127; return; fi
    $limit ip -N -d -j "$@" 2>/dev/null || $limit ip -d -j "$@" 2>/dev/null
    finish "$?"
}

plain() {
    section hostname cat /proc/sys/kernel/hostname
    section machine-id cat /etc/machine-id
    section kernel cat /proc/sys/kernel/osrelease
    if [ -r /etc/os-release ]; then section os-release cat /etc/os-release
    else section os-release cat /usr/lib/os-release
    fi
    # Names and numbers only.
    begin users; cut -d: -f1,3 /etc/passwd 2>/dev/null; finish "$?"
    begin namespace; stat -L -c %i /proc/self/ns/net 2>/dev/null; finish "$?"
    begin namespaces
    as_root sh -c 'stat -L -c %i /proc/[0-9]*/ns/net 2>/dev/null | sort -u'
    finish "$?"
    if have ss; then section ss ss -tulpne
    else section netstat netstat -tulpn
    fi
    ip_json addresses addr
    ip_json routes-4 -4 route show table all
    ip_json routes-6 -6 route show table all
    ip_json rules-4 -4 rule
    ip_json rules-6 -6 rule
    ip_json neighbours neigh
    begin sysctls
    # grep names the files; a `read` of sh would take single bytes, which the kernel does not give of a setting.
    ( cd /proc/sys/net && grep -Hs . ipv4/icmp_echo_ignore_all ipv4/ip_forward ipv4/ip_local_port_range \
        ipv4/ip_local_reserved_ports ipv4/ip_nonlocal_bind ipv4/ip_unprivileged_port_start ipv4/tcp_l3mdev_accept \
        ipv4/tcp_syncookies ipv4/udp_l3mdev_accept ipv6/bindv6only ipv6/ip_nonlocal_bind \
        bridge/bridge-nf-call-ip6tables bridge/bridge-nf-call-iptables core/somaxconn \
        ipv4/conf/*/accept_local ipv4/conf/*/arp_ignore ipv4/conf/*/forwarding ipv4/conf/*/route_localnet \
        ipv4/conf/*/rp_filter ipv4/conf/*/src_valid_mark ipv6/conf/*/disable_ipv6 ipv6/conf/*/forwarding ) 2>/dev/null
    finish 0
    section nft nft -j list ruleset
    section nft-text nft -s -t list ruleset
    # nft 1.0.6 stops in the middle of its JSON at a table with flags: each table by itself, then.
    if have nft && as_root nft -s -t list ruleset 2>/dev/null | grep -q '^[[:space:]]*flags dormant'; then
        count=0
        as_root nft list tables 2>/dev/null | while read -r word family name; do
            count=$((count + 1))
            # nft reads its arguments as commands, and a name may be anything.
            case $name in
                '' | [!A-Za-z_.]* | *[!A-Za-z0-9/_.-]*) begin "nft-table-$count"; finish 1 ;;
                *) section "nft-table-$count" nft -j list table "$family" "$name" ;;
            esac
        done
    fi
    for family in iptables ip6tables; do
        if have "$family-nft-save" || have "$family-legacy-save"; then
            section "$family-nft" "$family-nft-save" -c
            section "$family-legacy" "$family-legacy-save" -c
        else
            case $("$family-save" -V 2>/dev/null) in
                *nf_tables*) section "$family-nft" "$family-save" -c ;;
                *) section "$family-legacy" "$family-save" -c ;;
            esac
        fi
    done
    # Whether legacy tables are loaded at all, for machines without the programs that would print them.
    for names in ip_tables_names ip6_tables_names; do
        begin "$names"
        as_root sh -c 'if [ -e "$0" ]; then cat "$0"; fi' "/proc/net/$names" 2>/dev/null
        finish "$?"
    done
    section ipset ipset save
}

while read -r order size; do
    case $order in
        run) report "$program"; begin done; finish 0 ;;
        copy) copy "$size" report; begin done; finish 0; exit 0 ;;
        job) job=$(dd bs=1 count="$size" 2>/dev/null) ;;
        look) look "$program"; begin done; finish 0 ;;
        look-copied) copy "$size" look; begin done; finish 0; exit 0 ;;
        plain) plain </dev/null; begin done; finish 0 ;;
        *) exit 0 ;;
    esac
done
