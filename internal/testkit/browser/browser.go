// Package browser opens pages in a headless Chromium for tests: [Start] starts one, and
// [Browser.Open] opens a page in a tab with a size and a color scheme. A tab collects errors
// of the console and requests to other hosts, and [Tab.Check] looks for text and marks that
// are hard to see and for controls without a name.
//
// The browser resolves no names but localhost and those below "test", which are 127.0.0.1:
// a page of "http://evil.test:PORT" is a page of another site on this machine.
package browser

import (
	"context"
	_ "embed"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/apmon-go/apmon/internal/testkit"
)

// patience is how long an action may take: like [testkit.Patience], with the time in which
// a browser starts on a busy machine.
const patience = 2 * testkit.Patience

// Browser is a headless Chromium with a profile of its own. Use [Start].
type Browser struct{ ctx context.Context }

// shared is the browser of the tests that run: it takes a second or more of a core to start.
var shared struct {
	sync.Mutex
	users   int
	browser *Browser
	stop    func()
}

// Start returns the browser of this process, which ends with the last of the tests that use it.
// Tabs of different hosts or ports share nothing. It skips the test if there is no Chromium.
func Start(t testing.TB) *Browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("chromium is not installed")
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.users == 0 {
		b, stop, err := start(path)
		if err != nil {
			t.Fatalf("chromium does not start: %v", err)
		}
		shared.browser, shared.stop = b, stop
	}
	shared.users++
	t.Cleanup(func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.users--; shared.users == 0 {
			shared.stop()
		}
	})
	return shared.browser
}

// start starts a browser, and returns a function that ends it.
func start(path string) (*Browser, func(), error) {
	home, err := os.MkdirTemp("", "browser") // neither settings nor caches of the user
	if err != nil {
		return nil, nil, err
	}
	var process *exec.Cmd
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Env("HOME="+home),
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
			ownGroup(cmd)
			process = cmd
		}))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	stop := func() {
		late, done := context.WithTimeout(ctx, testkit.Patience)
		_ = chromedp.Cancel(late)
		done()
		cancel()
		if process != nil {
			killGroup(process)
		}
		_ = os.RemoveAll(home)
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return &Browser{ctx}, stop, nil
}

// View is how a page is seen.
type View struct {
	Width, Height int64 // of the window; 1280×800 if they are 0
	Dark          bool  // color scheme
	Touch         bool  // a phone: with a touch screen, and the page scaled to the width
	NoScript      bool  // scripts are off
	// Media are other features that a style sheet can ask for, as "forced-colors" → "active"
	// and "prefers-reduced-motion" → "reduce".
	Media map[string]string
	Print bool // as on paper
}

// Views are a window and a phone, both light and dark.
var Views = map[string]View{
	"wide light":  {Width: 1280, Height: 800},
	"wide dark":   {Width: 1280, Height: 800, Dark: true},
	"phone light": {Width: 390, Height: 844, Touch: true},
	"phone dark":  {Width: 390, Height: 844, Touch: true, Dark: true},
}

// Tab is an open page.
type Tab struct {
	t    testing.TB
	ctx  context.Context
	host string // that of the page, with its port

	mu      sync.Mutex
	errors  []string
	foreign []string
	urls    []string
}

// Open opens a page in a new tab, which closes at the end of the test or with [Tab.Close].
func (b *Browser) Open(t testing.TB, address string, v View) *Tab {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, _ := chromedp.NewContext(b.ctx)
	tab := &Tab{t: t, ctx: ctx, host: u.Host}
	t.Cleanup(tab.Close)
	if err := chromedp.Do(ctx); err != nil { // opens the tab; it has no time limit: it would be that of the tab
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, tab.listen); err != nil {
		t.Fatal(err)
	}
	tab.Do(v.apply(), chromedp.Navigate(address))
	return tab
}

// Visit opens another page of the same host in the tab, and forgets the errors of the last.
func (tab *Tab) Visit(address string) {
	tab.t.Helper()
	tab.Do(chromedp.Navigate("about:blank")) // what the last page still does ends
	tab.mu.Lock()
	tab.errors, tab.foreign, tab.urls = nil, nil, nil
	tab.mu.Unlock()
	tab.Do(chromedp.Navigate(address))
}

// apply sets size, color scheme and the like of a tab.
func (v View) apply() chromedp.Action[chromedp.Void] {
	if v.Width == 0 {
		v.Width, v.Height = 1280, 800
	}
	var size []chromedp.EmulateViewportOption
	if v.Touch {
		size = append(size, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
	}
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	for name, value := range v.Media {
		media.Features = append(media.Features, &emulation.MediaFeature{Name: name, Value: value})
	}
	if v.Print {
		media.Media = "print"
	}
	return chromedp.Steps(chromedp.EmulateViewport(v.Width, v.Height, size...), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
			return err
		}
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: v.NoScript})
		return err
	}))
}

// listen collects errors and requests.
func (tab *Tab) listen(event any) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		tab.errors = append(tab.errors, text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			text := string(e.Type) + ":"
			for _, a := range e.Args {
				text += " " + string(a.Value) + a.Description
			}
			tab.errors = append(tab.errors, text)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			tab.errors = append(tab.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		tab.urls = append(tab.urls, e.Request.URL)
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != tab.host && u.Scheme != "data" && u.Scheme != "blob" {
			tab.foreign = append(tab.foreign, e.Request.URL)
		}
	}
}

// Close closes the tab.
func (tab *Tab) Close() {
	late, cancel := context.WithTimeout(tab.ctx, testkit.Patience)
	defer cancel()
	_ = chromedp.Cancel(late)
}

// Do runs actions of package chromedp. It ends the test if one fails.
func (tab *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	late, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	if err := chromedp.Do(late, actions...); err != nil {
		tab.t.Fatalf("%v; errors of the page: %q", err, tab.Errors())
	}
}

// Eval returns the value of an expression of JavaScript in the page. A promise is awaited.
// It ends the test if the value is not a T, or undefined.
func Eval[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	late, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(late, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tab.t.Fatalf("%s: %v; errors of the page: %q", expression, err, tab.Errors())
	}
	return v
}

// Eventually waits until an expression of JavaScript is true. It also holds for a page that
// is being loaded. The test ends after a time.
func (tab *Tab) Eventually(expression string) {
	tab.t.Helper()
	for end := time.Now().Add(patience); ; {
		late, cancel := context.WithTimeout(tab.ctx, patience)
		ok, err := chromedp.Run(late, chromedp.Evaluate[bool]("!!("+expression+")"))
		cancel()
		if ok {
			return
		}
		if time.Now().After(end) {
			body, _ := chromedp.Run(tab.ctx, chromedp.Evaluate[string]("document.body.innerText"))
			tab.t.Fatalf("waited for %s: %v; errors of the page: %q; its text:\n%s", expression, err, tab.Errors(), body)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Key presses keys in the page, such as "/" or "\r" (see package kb of chromedp).
func (tab *Tab) Key(keys string) {
	tab.t.Helper()
	tab.Do(chromedp.KeyEvent(keys))
}

// Errors returns the errors and warnings of the console so far.
func (tab *Tab) Errors() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return slices.Clone(tab.errors)
}

// Foreign returns the URLs of requests to other hosts than that of the page so far.
func (tab *Tab) Foreign() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return slices.Clone(tab.foreign)
}

// Requests returns the URLs of all requests so far.
func (tab *Tab) Requests() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return slices.Clone(tab.urls)
}

// Screenshot writes a picture of the window to a file, as PNG.
func (tab *Tab) Screenshot(path string) {
	tab.t.Helper()
	late, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	b, err := chromedp.Run(late, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil {
		tab.t.Fatal(err)
	}
}

//go:embed check.js
var check string

// Faults returns the faults that check.js finds in the page: text with a contrast below
// 4.5:1 (large text 3:1), marks of graphs below 3:1, controls and graphs without a name, ids
// in use twice, and a page that is wider than its window.
func (tab *Tab) Faults() []string {
	tab.t.Helper()
	return Eval[[]string](tab, check)
}

// Check fails the test for faults, errors of the console, and requests to other hosts.
func (tab *Tab) Check() {
	tab.t.Helper()
	for what, found := range map[string][]string{"faults": tab.Faults(), "errors of the console": tab.Errors(), "requests to other hosts": tab.Foreign()} {
		if len(found) > 0 {
			tab.t.Errorf("%s: %s:\n%s", Eval[string](tab, "location.href"), what, strings.Join(found, "\n"))
		}
	}
}
