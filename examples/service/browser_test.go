package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/internal/testkit/browser"
)

// TestPage: a browser shows the requests, percentiles and a moving graph of the service under
// load, on a wide window and on a phone.
func TestPage(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	url := start(t, apmontest.New(t), "-load", "50")
	for name, view := range browser.Views {
		tab := b.Open(t, url+"/status", view)
		const kpi = `(label) => [...document.querySelectorAll(".kpi")].find((k) => k.querySelector(".label").textContent === label)?.querySelector(".value").textContent ?? ""`
		for _, want := range []string{
			`parseFloat((` + kpi + `)("requests")) > 0`, `parseFloat((` + kpi + `)("p99")) > 0`, `parseFloat((` + kpi + `)("in progress")) >= 1`,
			`document.body.innerText.includes("/hello")`, `document.body.innerText.includes("greetings")`, `document.body.innerText.includes("GET")`,
		} {
			tab.Eventually(want)
		}
		tab.Eventually(`document.querySelectorAll("svg.graph path").length > 0 && (window.before = document.querySelector("svg.graph").innerHTML).length > 0`)
		tab.Eventually(`document.querySelector("svg.graph").innerHTML !== before`)
		if dir := os.Getenv("APMON_SHOTS"); dir != "" {
			tab.Screenshot(filepath.Join(dir, "status-"+strings.ReplaceAll(name, " ", "-")+".png"))
		}
		if tab.Check(); t.Failed() {
			t.Fatal(name)
		}
	}
}
