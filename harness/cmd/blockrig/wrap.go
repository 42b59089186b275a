package main

import "strings"

// wrap breaks text at spaces so that, if it can be, no line is longer than
// width; one below 20 breaks nothing.
func wrap(text string, width int) []string {
	if width < 20 {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// fold is wrap for each line of text. What a line is broken into is indented
// as it is. A command to copy, indented, stays whole.
func fold(text string, width int) string {
	if width < 20 {
		return text
	}
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if len([]rune(line)) <= width || strings.HasPrefix(line, "  blockrig ") {
			out = append(out, line)
			continue
		}
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		for _, part := range wrap(line, width-len(indent)) {
			out = append(out, indent+part)
		}
	}
	return strings.Join(out, "\n")
}
