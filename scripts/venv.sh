# Sourced by scripts that use packages of PyPI: exact versions with hashes, in an environment of their own below target/.

export PIP_CACHE_DIR="$PWD/target/pip-cache" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PYTHONDONTWRITEBYTECODE=1

# make_venv DIRECTORY REQUIREMENTS OLDEST_PYTHON (such as 3.10)
# Leaves in venv_missing why they cannot be had here, or nothing.
make_venv() {
    local home="$1" requirements="$2" oldest="$3" wanted pip
    venv_missing=""
    if ! python3 -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$oldest'.split('.'))))" 2>/dev/null; then
        venv_missing="python3 is not here or older than $oldest"
        return
    fi
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        venv_missing="python3 has no venv (on Debian it is a package of its own)"
        return
    fi
    wanted="$(python3 --version) $(cksum <"$requirements")"
    if [ -x "$home/bin/python" ] && [ -f "$home.installed" ] && [ "$(cat "$home.installed")" = "$wanted" ]; then
        return
    fi
    rm -rf "$home" "$home.installed"
    mkdir -p "$(dirname "$home")"
    python3 -m venv "$home"
    pip=("$home/bin/python" -m pip --quiet --retries 1 --timeout 30)
    if ! "${pip[@]}" download --no-cache-dir --no-deps --only-binary :all: --dest "$home.reached" idna 2>/dev/null; then
        rm -rf "$home" "$home.reached"
        venv_missing="they are not installed and the registry cannot be reached"
        return
    fi
    rm -rf "$home.reached"
    echo "Installing $(basename "$(dirname "$requirements")")/$(basename "$requirements") from PyPI (once)"
    "${pip[@]}" install --require-hashes --only-binary :all: -r "$requirements"
    echo "$wanted" >"$home.installed"
}
