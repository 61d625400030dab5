package graph

import (
	"regexp"
	"strings"
	"sync"
)

// standaloneCSS returns the rules of graphs without variables, for programs that show SVG
// files but know no variables: the light colours, and the dark ones where the reader prefers
// them.
var standaloneCSS = sync.OnceValue(func() string {
	palette := regexp.MustCompile(`(--\w+): light-dark\((.*?), (.*?)\);`)
	var light, dark []string
	for _, m := range palette.FindAllStringSubmatch(CSS, -1) {
		use := "var(" + m[1] + ")"
		light, dark = append(light, use, m[2]), append(dark, use, m[3])
	}
	var rules strings.Builder
	for line := range strings.Lines(CSS) {
		if strings.HasPrefix(line, ".graph ") {
			rules.WriteString(line)
		}
	}
	return "\n.graph { font: 12px system-ui, sans-serif; }\n" + strings.NewReplacer(light...).Replace(rules.String()) +
		"@media (prefers-color-scheme: dark) {\n" + strings.NewReplacer(dark...).Replace(rules.String()) + "}\n"
})
