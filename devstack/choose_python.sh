#!/bin/sh
# Prints which Python to make .venv with, or nothing where there is none.
#
# The oldest supported version comes first: it is the one that is tested. Of several of one version, one that was built
# with optimizations, as distributions and container images have it. One compiled by hand often was not, and is slower
# by a fifth to a third in everything. Debian does not tell in its configuration: there it is the prefix that does.

folders="${PYTHON_FOLDERS-/usr/local/bin /usr/bin}"
any='import sys; sys.exit(sys.version_info < (3, 11))'
good="import ensurepip, sys, sysconfig
optimized = sys.base_prefix == '/usr' or '--enable-optimizations' in (sysconfig.get_config_var('CONFIG_ARGS') or '')
sys.exit(sys.version_info < (3, 11) or not optimized)"

for version in 3.11 3.12 3.13 3; do
	for wanted in "$good" "$any"; do
		for python in "python$version" $(printf "%s/python$version " $folders); do
			if "$python" -c "$wanted" 2>/dev/null; then
				echo "$python"
				exit
			fi
		done
	done
done
