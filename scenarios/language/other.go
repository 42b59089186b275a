package language

import "reflect"

// A File is one that was read by Read: what its rules find wrong, too, has a
// line.
type File struct{ d *decoder }

// Read reads the only document of src into the struct that to points to, as
// strictly as a scenario is read: its fields' tags say what may stand there
// (see package scenarios). kind is what such a file is called in messages.
// A mistake is an *Error.
func Read(name, kind string, src []byte, to any) (*File, error) {
	v := reflect.ValueOf(to).Elem()
	fields := slots(v)
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	d := newDecoder(name, fileKind{kind, keys})
	if root := d.document(src); d.err == nil {
		d.object("", root, fields)
	}
	if d.err != nil {
		return nil, d.err
	}
	return &File{d}, nil
}

// Wrong is the *Error of what stands at a path such as "kernels[2].tags.match",
// or is missing there.
func (f *File) Wrong(path, format string, args ...any) error {
	f.d.err = nil
	f.d.failAt(path, format, args...)
	return f.d.err
}
