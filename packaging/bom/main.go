// Bom lists what is linked into the commands: their modules and the standard library of Go. It
// writes their licences into one file, and a list in the format SPDX 2.3:
//
//	go run ./packaging/bom -version 1.2.3 -dir DIR
//
// makes DIR/copyright and DIR/apmon.spdx.json. GOARCH selects the architecture;
// SOURCE_DATE_EPOCH is the time in the list. A module without a licence that is known here is an
// error: a person has to read it.
package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	version, dir := flag.String("version", "", "the `VERSION` of the release"), flag.String("dir", "", "write to `DIR`")
	flag.Parse()
	if err := run(*version, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bom:", err)
		os.Exit(1)
	}
}

func run(version, dir string) error {
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	own, parts, err := linked()
	if err != nil {
		return err
	}
	own.Version = version
	notices, err := notices(own, parts)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "copyright"), notices, 0o644); err != nil {
		return err
	}
	list, err := spdx(own, parts, time.Unix(epoch, 0).UTC())
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "apmon.spdx.json"), list, 0o644)
}

// module is a module that is linked, or the standard library.
type module struct {
	Path, Version, Dir string
	// licences are the files with its licences and notices, of the module and of the packages
	// that are linked, relative to Dir.
	licences []string
	id       string // of its licences, in SPDX
}

// std is the name of the standard library, as in its package URL.
const std = "std"

// linked returns this module, and all others that are linked into the commands, with their
// licences, in the order of their paths.
func linked() (own module, others []module, err error) {
	list := exec.Command("go", "list", "-deps", "-tags", "urfave_cli_no_docs", "-f", `{"Dir":{{printf "%q" .Dir}}{{with .Module}},"Module":{"Path":"{{.Path}}","Version":"{{.Version}}","Main":{{.Main}},"Dir":{{printf "%q" .Dir}}}{{end}}}`,
		"github.com/apmon-go/apmon/cmd/apmon-send", "github.com/apmon-go/apmon/cmd/apmon-bg", "github.com/apmon-go/apmon/cmd/apmon-recv")
	list.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return own, nil, fmt.Errorf("go list: %w", err)
	}
	found, folders := map[string]module{}, map[string]map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			Dir    string
			Module struct {
				module
				Main bool
			}
		}
		if err := d.Decode(&p); err != nil {
			return own, nil, err
		}
		m := p.Module.module
		switch {
		case p.Module.Main:
			own = m
			continue
		case m.Path == "":
			m.Path = std
		}
		found[m.Path] = m
		if folders[m.Path] == nil {
			folders[m.Path] = map[string]bool{}
		}
		folders[m.Path][p.Dir] = true
	}
	goroot, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return own, nil, fmt.Errorf("go env: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(goroot)), "\n")
	found[std] = module{Path: std, Version: strings.TrimPrefix(version, "go"), Dir: root}
	own.licences, own.id = []string{"LICENSE"}, "MIT"
	for _, path := range slices.Sorted(maps.Keys(found)) {
		m := found[path]
		if err := m.read(folders[path]); err != nil {
			return own, nil, fmt.Errorf("%s: %w", path, err)
		}
		others = append(others, m)
	}
	return own, others, nil
}

// licenceFile matches the names of files with licences and notices.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-.].*)?$`)

// read finds the licences that apply to the linked packages in folders: those in their folders,
// and in all above within the module.
func (m *module) read(folders map[string]bool) error {
	inside := map[string]bool{m.Dir: true}
	for dir := range folders {
		for dir != m.Dir && strings.HasPrefix(dir, m.Dir) {
			inside[dir] = true
			dir = filepath.Dir(dir)
		}
	}
	ids := map[string]bool{}
	for _, dir := range slices.Sorted(maps.Keys(inside)) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !licenceFile.MatchString(e.Name()) || e.Type() != fs.FileMode(0) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			name, err := filepath.Rel(m.Dir, filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			m.licences = append(m.licences, name)
			for _, id := range identify(string(text)) {
				ids[id] = true
			}
		}
	}
	if len(ids) == 0 {
		return fmt.Errorf("no licence that is known here in %s", m.Dir)
	}
	m.id = strings.Join(slices.Sorted(maps.Keys(ids)), " AND ")
	return nil
}

// identify returns the SPDX names of the licences in a text. Licences that ask for more than
// their text to be kept are unknown on purpose.
func identify(text string) (ids []string) {
	text = strings.Join(strings.Fields(text), " ")
	for _, l := range []struct{ id, phrase string }{
		{"Apache-2.0", "Apache License Version 2.0, January 2004"},
		{"Apache-2.0", "Licensed under the Apache License, Version 2.0"},
		{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
		{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose"},
		{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose"},
	} {
		if strings.Contains(text, l.phrase) && !slices.Contains(ids, l.id) {
			ids = append(ids, l.id)
		}
	}
	if strings.Contains(text, "Redistribution and use in source and binary forms, with or without modification") {
		if strings.Contains(text, "endorse or promote products") {
			ids = append(ids, "BSD-3-Clause")
		} else {
			ids = append(ids, "BSD-2-Clause")
		}
	}
	return ids
}

// notices returns the text of all licences.
func notices(own module, parts []module) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("The commands of this package are under the first licence below. They are linked\nwith the modules after it, under their licences.\n")
	for _, m := range append([]module{own}, parts...) {
		for _, name := range m.licences {
			text, err := os.ReadFile(filepath.Join(m.Dir, name))
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "\n%s\n%s %s: %s\n\n%s\n", strings.Repeat("=", 80), m.Path, m.Version, filepath.ToSlash(name), bytes.TrimSpace(text))
		}
	}
	return b.Bytes(), nil
}

// spdx returns the list in the format SPDX 2.3.
func spdx(own module, parts []module, made time.Time) ([]byte, error) {
	type object = map[string]any
	const home = "SPDXRef-apmon"
	id := func(m module) string {
		return "SPDXRef-" + regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(m.Path, "-")
	}
	entry := func(m module, id string) object {
		return object{
			"SPDXID": id, "name": m.Path, "versionInfo": m.Version, "downloadLocation": "NOASSERTION",
			"filesAnalyzed": false, "licenseConcluded": m.id, "licenseDeclared": m.id, "copyrightText": "NOASSERTION",
			"externalRefs": []object{{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:golang/" + m.Path + "@" + m.Version}},
		}
	}
	packages := []object{entry(own, home)}
	relations := []object{{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": home}}
	for _, m := range parts {
		packages = append(packages, entry(m, id(m)))
		relations = append(relations, object{"spdxElementId": home, "relationshipType": "STATIC_LINK", "relatedSpdxElement": id(m)})
	}
	all, err := json.Marshal(packages)
	if err != nil {
		return nil, err
	}
	arch := cmp.Or(os.Getenv("GOARCH"), "host")
	return json.MarshalIndent(object{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
		"name": "apmon-" + own.Version + "-linux-" + arch,
		// It must differ from that of each other list.
		"documentNamespace": fmt.Sprintf("https://github.com/apmon-go/apmon/spdx/%s/%x", own.Version, sha256.Sum256(all)),
		"creationInfo":      object{"created": made.Format(time.RFC3339), "creators": []string{"Tool: apmon-packaging-bom"}},
		"packages":          packages, "relationships": relations,
	}, "", " ")
}
