package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/klauspost/compress/zstd"
)

// writeArchive writes files into a folder of an archive, and the folders they
// are in.
func writeArchive(to, folder string, files []file, at time.Time) (err error) {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// One worker: the same bytes on every machine.
	z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return err
	}
	out := tar.NewWriter(z)
	made := map[string]bool{".": true}
	var mkdir func(dir string) error
	mkdir = func(dir string) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := mkdir(path.Dir(dir)); err != nil {
			return err
		}
		return out.WriteHeader(&tar.Header{Name: dir + "/", Mode: 0o755, Typeflag: tar.TypeDir, ModTime: at, Format: tar.FormatPAX})
	}
	for _, file := range files {
		if file.only == "deb" { // where others look for it, it is twice
			continue
		}
		name := path.Join(folder, file.to)
		if err := mkdir(path.Dir(name)); err != nil {
			return err
		}
		if err := file.writeTo(out, name, at); err != nil {
			return fmt.Errorf("%s: %w", file.to, err)
		}
	}
	return errors.Join(out.Close(), z.Close())
}

func (f file) writeTo(out *tar.Writer, name string, at time.Time) error {
	in, err := os.Open(f.from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	err = out.WriteHeader(&tar.Header{
		Name: name, Mode: int64(f.mode), Size: info.Size(), Typeflag: tar.TypeReg, ModTime: at, Format: tar.FormatPAX,
	})
	if err == nil {
		_, err = io.Copy(out, in)
	}
	return err
}
