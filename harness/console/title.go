package console

import "strings"

// expand fills a title: {func} is fn, other names are captures.
func expand(title, fn string, get func(string) string) string {
	if fn == "" {
		title = strings.Replace(title, " in {func}", "", 1)
		title = strings.Replace(title, "{func}", "?", 1)
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(title, '{')
		if i < 0 {
			break
		}
		j := strings.IndexByte(title[i:], '}')
		if j < 0 {
			break
		}
		b.WriteString(title[:i])
		if name := title[i+1 : i+j]; name == "func" {
			b.WriteString(fn)
		} else {
			b.WriteString(get(name))
		}
		title = title[i+j+1:]
	}
	b.WriteString(title)
	out := b.String()
	if len(out) > maxTitle {
		out = strings.ToValidUTF8(out[:maxTitle], "")
	}
	return strings.TrimRight(out, " ")
}

// guilty names the function to blame.
func (s *Scanner) guilty(r *report) string {
	names := [2]string{r.function, r.rip}
	if r.marker.shape == shapeStall {
		names[0] = ""
	}
	if r.marker.kind == KindHang && r.marker.shape == shapeTrace && !strings.Contains(r.marker.title, "LOCK") && !strings.Contains(r.marker.title, "lockup") {
		names = [2]string{}
	}
	for _, n := range names {
		if n = baseName(n); n != "" && !s.t.look.has(n) {
			return n
		}
	}
	first := ""
	for pass := range 2 {
		for _, f := range r.f.Trace {
			if f.Inlined || strings.HasPrefix(f.Func, "0x") || f.Reliable != (pass == 0) {
				continue
			}
			n := baseName(f.Func)
			if first == "" {
				first = n
			}
			if !s.t.look.has(n) {
				return n
			}
		}
		if first != "" {
			break
		}
	}
	for _, n := range names {
		if n != "" {
			return baseName(n)
		}
	}
	return first
}

// normalise takes numbers and addresses out of free text, so that a title is
// the same for each run.
func normalise(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if !isDigit(c) || i > 0 && (isWord(s[i-1]) || s[i-1] == '-' && i > 1 && isWord(s[i-2])) {
			if c < 0x20 {
				c = ' '
			}
			b.WriteByte(c)
			i++
			continue
		}
		j := i
		if strings.HasPrefix(s[i:], "0x") {
			j += 2
		}
		hex := j > i
		for j < len(s) && isHex(s[j]) {
			hex = hex || !isDigit(s[j])
			j++
		}
		if j < len(s) && isWord(s[j]) { // a word that begins with digits
			for j < len(s) && isWord(s[j]) {
				j++
			}
			b.WriteString(s[i:j])
		} else if hex || j-i >= 8 {
			b.WriteString("ADDR")
		} else {
			b.WriteString("NUM")
		}
		i = j
	}
	return strings.TrimSpace(b.String())
}
