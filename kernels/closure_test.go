package kernels

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/blockrig/blockrig/kernels/internal/archivetest"
	"github.com/blockrig/blockrig/scenarios"
)

const madeConfig = `# a comment
CONFIG_EXT4_FS=m
CONFIG_DM_MIRROR=m
CONFIG_BLK_DEV_SD=y
CONFIG_MD=y
# CONFIG_XFS_FS is not set
CONFIG_BTRFS_FS=m
CONFIG_ODD=m
CONFIG_RING=m
CONFIG_LOCALVERSION=""
`

// madeKernel gives a kernel as a user has it, with modules in all the forms
// there are.
func madeKernel(t testing.TB, config string) Kernel {
	t.Helper()
	dir := t.TempDir()
	module := func(suffix string, modinfo ...string) []byte {
		return archivetest.Compress(t, suffix, madeModule(t, append(modinfo, "vermagic=6.12.9 SMP")...))
	}
	writeAll(t, dir, map[string][]byte{
		"bzImage":                                  madeImage("6.12.9"),
		"config":                                   []byte(config),
		"m/modules.builtin":                        []byte("kernel/drivers/scsi/sd_mod.ko\nkernel/lib/zlib-inflate.ko\n"),
		"m/modules.builtin.modinfo":                []byte("sha256.alias=crypto-sha256\x00sha256.license=GPL\x00"),
		"m/kernel/fs/ext4/ext4.ko.xz":              module(".xz", "depends=jbd2,mbcache", "softdep=pre: crc32c", "alias=fs-ext3", "alias=ext3"),
		"m/kernel/fs/jbd2/jbd2.ko.zst":             module(".zst", "depends="),
		"m/kernel/fs/mbcache.ko.gz":                module(".gz"),
		"m/kernel/fs/btrfs/btrfs.ko":               module("", "depends=zlib_inflate", "softdep=pre: sha256", "softdep=pre: xxhash64 nowhere"),
		"m/kernel/crypto/crc32c_generic.ko":        module("", "alias=crypto-crc32c-generic", "alias=crc32c", "alias=crypto-crc32c"),
		"m/kernel/arch/x86/crypto/crc32c-intel.ko": module("", "alias=crc32c", "alias=crypto-crc32c", "alias=cpu:type:x86,ven*fam*mod*:feature:*0094*"),
		"m/kernel/crypto/xxhash_generic.ko":        module("", "alias=crypto-xxhash64"),
		"m/kernel/drivers/md/dm-mod.ko":            module("", "softdep=post: dm-late"),
		"m/kernel/drivers/md/dm-late.ko":           module("", "depends=dm-mod"),
		"m/kernel/drivers/md/dm-log.ko":            module("", "depends=dm-mod"),
		"m/kernel/drivers/md/dm-mirror.ko":         module("", "depends=dm-log,dm-region-hash,dm-mod"),
		"m/kernel/drivers/md/dm-region-hash.ko":    module("", "depends=dm-log,dm-mod"),
		"m/kernel/odd.ko":                          module("", "depends=missing-one"),
		"m/kernel/soft_odd.ko":                     module("", "softdep=pre: odd"),
		"m/kernel/ring_a.ko":                       module("", "softdep=pre: ring_b"),
		"m/kernel/ring_b.ko":                       module("", "softdep=pre: ring_a"),
	})
	ref := "file:" + dir + "/bzImage,modules=" + dir + "/m"
	if config != "" {
		ref += ",config=" + dir + "/config"
	}
	store, err := Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := store.Resolve(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func load(modules []Module) []string {
	var names []string
	for _, m := range modules {
		name := m.Name
		if m.Soft {
			name += " (soft)"
		}
		names = append(names, name)
	}
	return names
}

func TestClosureOrder(t *testing.T) {
	k := madeKernel(t, madeConfig)
	for name, test := range map[string]struct {
		needs []scenarios.Need
		want  []string
	}{
		"nothing": {nil, nil},
		"dependencies come first, each once": {
			[]scenarios.Need{{Option: "CONFIG_DM_MIRROR", Module: "dm-mirror"}, {Option: "CONFIG_DM_MIRROR", Module: "dm_mirror"}},
			[]string{"dm_mod", "dm_late (soft)", "dm_log", "dm_region_hash", "dm_mirror"},
		},
		"a soft dependency through an alias takes the generic provider": {
			[]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "ext4"}},
			[]string{"crc32c_generic (soft)", "jbd2", "mbcache", "ext4"},
		},
		"a need may be an alias": {
			[]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "ext3"}},
			[]string{"crc32c_generic (soft)", "jbd2", "mbcache", "ext4"},
		},
		"soft dependencies that are built in or nowhere are left out": {
			[]scenarios.Need{{Option: "CONFIG_BTRFS_FS", Module: "btrfs"}},
			[]string{"xxhash_generic (soft)", "btrfs"},
		},
		"what was soft is needed by itself": {
			[]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "ext4"}, {Option: "", Module: "crc32c_generic"}},
			[]string{"crc32c_generic", "jbd2", "mbcache", "ext4"},
		},
		"built in by config or by modules.builtin": {
			[]scenarios.Need{{Option: "CONFIG_BLK_DEV_SD", Module: "nowhere"}, {Option: "CONFIG_MD", Module: ""}, {Option: "CONFIG_EXT4_FS", Module: "zlib_inflate"}},
			nil,
		},
		"a soft dependency that can't be loaded": {[]scenarios.Need{{Option: "CONFIG_ODD", Module: "soft_odd"}}, []string{"soft_odd"}},
		"soft dependencies in a ring":            {[]scenarios.Need{{Option: "CONFIG_RING", Module: "ring_a"}}, []string{"ring_b (soft)", "ring_a"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := k.Closure(test.needs)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, load(got)); diff != "" {
				t.Errorf("modules (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClosureRefuses(t *testing.T) {
	with, without := madeKernel(t, madeConfig), madeKernel(t, "")
	bare := with
	bare.Modules, bare.Index = "", ""
	for name, test := range map[string]struct {
		kernel Kernel
		need   scenarios.Need
		is     error
		say    string
	}{
		"an option that is off":           {with, scenarios.Need{Option: "CONFIG_XFS_FS", Module: "xfs"}, ErrWithout, "built without CONFIG_XFS_FS"},
		"an option that must be built in": {with, scenarios.Need{Option: "CONFIG_DM_MIRROR", Module: ""}, ErrWithout, "built without CONFIG_DM_MIRROR"},
		"a module that is gone":           {with, scenarios.Need{Option: "CONFIG_DM_MIRROR", Module: "dm-mirrors"}, ErrNeed, "CONFIG_DM_MIRROR (module dm-mirrors)"},
		"no config and no module":         {without, scenarios.Need{Option: "CONFIG_XFS_FS", Module: "xfs"}, ErrNeed, "CONFIG_XFS_FS (module xfs)"},
		"no modules folder":               {bare, scenarios.Need{Option: "CONFIG_DM_MIRROR", Module: "dm-mirror"}, ErrNeed, "no modules folder: CONFIG_DM_MIRROR"},
		"a dependency that is not there":  {with, scenarios.Need{Option: "CONFIG_ODD", Module: "odd"}, ErrModules, "odd depends on missing_one"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.kernel.Closure([]scenarios.Need{test.need})
			if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.say) {
				t.Errorf("error %v, want %v that says %q", err, test.is, test.say)
			}
		})
	}
}

func TestClosureOfAKernelThatSaysNothing(t *testing.T) {
	// Given an image alone, nothing is known, and the guest will see.
	k := madeKernel(t, "")
	k.Modules, k.Index = "", ""
	got, err := k.Closure([]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "ext4"}})
	if err != nil || got != nil {
		t.Errorf("modules %v, %v; want none and no error", load(got), err)
	}
}

func TestCompleteFillsIn(t *testing.T) {
	made := madeKernel(t, madeConfig)
	got, err := Kernel{Ref: "git:x@y", Image: made.Image, Config: made.Config}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	if got.Release != "6.12.9" || len(got.Digest) != 64 || got.Digest == made.Digest {
		t.Errorf("%+v, want the release and another digest than with modules", got)
	}
	for name, k := range map[string]Kernel{
		"no image":  {Image: made.Config},
		"no config": {Image: made.Image, Config: made.Image},
	} {
		if k, err := k.Complete(); err == nil {
			t.Errorf("%s: %+v", name, k)
		}
	}
}

func TestOpenModuleDecompresses(t *testing.T) {
	k := madeKernel(t, madeConfig)
	modules, err := k.Closure([]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "ext4"}})
	if err != nil {
		t.Fatal(err)
	}
	suffixes := map[string]bool{}
	for _, m := range modules {
		suffixes[filepath.Ext(m.Path)] = true
		r, err := k.OpenModule(m)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(data), "\x7fELF") {
			t.Errorf("%s is no ELF file", m.Path)
		}
	}
	if len(suffixes) != 4 {
		t.Errorf("modules with suffixes %v, want all four forms", suffixes)
	}
	if _, err := k.OpenModule(Module{Name: "evil", Path: "../config"}); err == nil {
		t.Error("a path that leaves the folder is opened")
	}
}

func TestReadOptionsRefuses(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, dir, map[string][]byte{"empty": nil, "text": []byte("# ok\nthis is no config\n")})
	for name, say := range map[string]string{"empty": "sets no option", "text": "text:2: want CONFIG_NAME=value", "missing": "no such file"} {
		if _, err := readOptions(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: error %v, want one that says %q", name, err, say)
		}
	}
}

func BenchmarkClosure(b *testing.B) {
	k := madeKernel(b, madeConfig)
	for b.Loop() {
		if _, err := k.Closure([]scenarios.Need{{Option: "CONFIG_EXT4_FS", Module: "ext4"}, {Option: "CONFIG_DM_MIRROR", Module: "dm-mirror"}}); err != nil {
			b.Fatal(err)
		}
	}
}
