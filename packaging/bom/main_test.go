package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIdentify(t *testing.T) {
	t.Parallel()
	const bsd = "Redistribution and use in source and binary\nforms, with or without modification, are permitted"
	for text, want := range map[string][]string{
		"":                                       nil,
		"GNU GENERAL PUBLIC LICENSE\n Version 3": nil,
		"Mozilla Public License Version 2.0":     nil,
		"Apache License\n  Version 2.0, January 2004\n http":                                    {"Apache-2.0"},
		"Permission is hereby granted, free of charge, to any person obtaining a copy of this":  {"MIT"},
		"Permission to use, copy, modify, and distribute this software for any purpose with or": {"ISC"},
		bsd: {"BSD-2-Clause"},
		bsd + " Neither the name of Google Inc. may be used to endorse or promote products": {"BSD-3-Clause"},
		"Apache License Version 2.0, January 2004 " + bsd:                                   {"Apache-2.0", "BSD-2-Clause"},
	} {
		if got := identify(text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// A module without a known licence is an error; those of the folders of linked packages count,
// others do not.
func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"LICENSE.md":            "Permission is hereby granted, free of charge, to any person obtaining a copy",
		"license.go":            "Apache License Version 2.0, January 2004",
		"linked/NOTICE":         "A notice.",
		"linked/deep/COPYING":   "Redistribution and use in source and binary forms, with or without modification",
		"other/LICENSE":         "GNU GENERAL PUBLIC LICENSE",
		"unknown/LICENCE-extra": "All rights reserved.",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := module{Path: "m", Dir: dir}
	if err := m.read(map[string]bool{filepath.Join(dir, "linked", "deep"): true}); err != nil {
		t.Fatal(err)
	}
	want := []string{"LICENSE.md", filepath.Join("linked", "NOTICE"), filepath.Join("linked", "deep", "COPYING")}
	if m.id != "BSD-2-Clause AND MIT" || !slices.Equal(m.licences, want) {
		t.Errorf("%q, %v", m.id, m.licences)
	}
	bad := module{Path: "bad", Dir: filepath.Join(dir, "unknown")}
	if err := bad.read(map[string]bool{bad.Dir: true}); err == nil {
		t.Errorf("%+v", bad)
	}
}

// Each module that is linked has a licence that is known.
func TestLinked(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("go", "list", "-deps", "../../cmd/apmon-recv").CombinedOutput(); err != nil {
		t.Skipf("the modules are not here: %s", out)
	}
	own, parts, err := linked()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, m := range parts {
		ids[m.Path] = m.id
	}
	for path, want := range map[string]string{std: "BSD-3-Clause", "golang.org/x/sys": "BSD-3-Clause", "github.com/urfave/cli/v2": "MIT", "github.com/nats-io/nats.go": "Apache-2.0"} {
		if ids[path] != want {
			t.Errorf("%s: %q, want %q", path, ids[path], want)
		}
	}
	list, err := spdx(own, parts, time.Unix(1, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		DocumentNamespace string
		CreationInfo      struct{ Created string }
		Packages          []any
	}
	if err := json.Unmarshal(list, &document); err != nil {
		t.Fatal(err)
	}
	if len(document.Packages) != len(parts)+1 || document.CreationInfo.Created != "1970-01-01T00:00:01Z" || !strings.HasPrefix(document.DocumentNamespace, "https://") {
		t.Errorf("%+v", document)
	}
	text, err := notices(own, parts)
	if err != nil || !strings.Contains(string(text), "The Go Authors") {
		t.Errorf("%v, %d bytes", err, len(text))
	}
}
