package language

import (
	"slices"

	"gopkg.in/yaml.v3"
)

// oldLayers are the keys that a stack had when it was a mapping, from the
// bottom up.
var oldLayers = []string{"lvm", "md", "ext4", "file"}

// oldNames are what the guest called them.
var oldNames = []string{"main", "", "tmp", "testfile"}

// modernize rewrites the form that scenarios had when a stack was a mapping of
// at most four layers and there was one step.
func (s *source) modernize(root *yaml.Node) {
	for i := 0; i < len(root.Content) && s.err == nil; i += 2 {
		switch key, value := root.Content[i], root.Content[i+1]; {
		case key.Value == "stack" && value.Kind == yaml.MappingNode:
			root.Content[i+1] = s.oldStack(value)
		case key.Value == "step" && value.Kind == yaml.MappingNode:
			root.Content[i] = scalarAt(key, "steps")
			root.Content[i+1] = listAt(value, pairAt(value, "io", value))
		}
	}
}

func (s *source) oldStack(n *yaml.Node) *yaml.Node {
	out := listAt(n)
	var found [4]*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		k := slices.Index(oldLayers, key.Value)
		switch {
		case k < 0:
			s.fail(key.Line, "stack: a list is wanted here, not a mapping: each layer is an item with a dash before it, such as - md: {level: raid1}")
			return n
		case found[k] != nil:
			s.fail(key.Line, "stack: the key %s is here twice", key.Value)
			return n
		}
		found[k] = n.Content[i+1]
	}
	if found[0] != nil && found[1] != nil {
		s.fail(n.Line, "stack: lvm and md exclude each other in a mapping; write a list, in which each layer lies on the one before it")
		return n
	}
	for k, value := range found {
		if value != nil && value.Kind == yaml.MappingNode && oldNames[k] != "" {
			named := *value
			named.Content = append([]*yaml.Node{scalarAt(value, "name"), scalarAt(value, oldNames[k])}, value.Content...)
			value = &named
		}
		switch {
		case value == nil:
		case oldLayers[k] == "ext4" && value.Kind == yaml.MappingNode:
			fs := *value
			fs.Content = append([]*yaml.Node{scalarAt(value, "type"), scalarAt(value, "ext4")}, value.Content...)
			out.Content = append(out.Content, pairAt(value, "fs", &fs))
		case oldLayers[k] == "ext4":
			s.fail(value.Line, "stack.ext4: a mapping is wanted here, not %s", describe(value))
		default:
			out.Content = append(out.Content, pairAt(value, oldLayers[k], value))
		}
	}
	return out
}

func scalarAt(n *yaml.Node, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: value, Line: n.Line}
}

func listAt(n *yaml.Node, items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Content: items}
}

func pairAt(n *yaml.Node, key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Line: n.Line, Content: []*yaml.Node{scalarAt(n, key), value}}
}
