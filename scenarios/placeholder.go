package scenarios

import "strings"

// NamePattern is what the name of a disk or layer looks like.
const NamePattern = `[a-z][a-z0-9_-]{0,15}`

// Parts are what {name.part} may ask for of a disk or layer: its folder in
// sysfs, where it is mounted, its size in sectors of 512 bytes, its name in the
// kernel, such as sda.
var Parts = []string{"sys", "mount", "sectors", "kernel"}

// A Placeholder stands in a text for a disk or layer: {name} for the path of its
// device, of its file, or of where it is mounted; {name.part} for something else
// of it.
type Placeholder struct{ Name, Part string }

// String writes it as a scenario does.
func (p Placeholder) String() string {
	if p.Part != "" {
		return "{" + p.Name + "." + p.Part + "}"
	}
	return "{" + p.Name + "}"
}

// readPlaceholder reads what stands between braces. It does without a regular
// expression, which would cost each start of a guest.
func readPlaceholder(inside string) (Placeholder, bool) {
	name, part, dotted := strings.Cut(inside, ".")
	for i, c := range []byte(name) {
		if small := c >= 'a' && c <= 'z'; !small && (i == 0 || c != '-' && c != '_' && (c < '0' || c > '9')) {
			return Placeholder{}, false
		}
	}
	other := func(c rune) bool { return c < 'a' || c > 'z' }
	if name == "" || len(name) > 16 || dotted && (part == "" || strings.ContainsFunc(part, other)) {
		return Placeholder{}, false
	}
	return Placeholder{name, part}, true
}

// Placeholders are those of a text, in order.
func Placeholders(text string) []Placeholder {
	var out []Placeholder
	_, _ = Expand(text, func(p Placeholder) (string, error) {
		out = append(out, p)
		return "", nil
	})
	return out
}

// Expand replaces each placeholder of a text by what value gives for it, and
// {{ by a brace. Braces around anything else stay, and those behind a dollar:
// they are the shell's. It stops at the first error.
func Expand(text string, value func(Placeholder) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		inside, after, closed := strings.Cut(rest, "}")
		p, known := readPlaceholder(inside)
		switch {
		case strings.HasPrefix(rest, "{"):
			b.WriteByte('{')
			text = rest[1:]
		case !closed || !known || strings.HasSuffix(before, "$"):
			b.WriteByte('{')
			text = rest
		default:
			s, err := value(p)
			if err != nil {
				return "", err
			}
			b.WriteString(s)
			text = after
		}
	}
}
