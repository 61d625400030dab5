package top

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/apmon-go/apmon/cmd/internal/readable"
	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/internal/glob"
)

// Sort orders, besides the names of columns.
const (
	byTrouble = ""     // what is in trouble first
	byName    = "name" // natural order of names
	byAge     = "age"  // heard last first
)

// row is a line of the list: a cluster, or one of its nodes.
type row struct {
	group *group
	node  *dashboard.Node // nil for the cluster
}

func (r row) id() id {
	if r.node == nil {
		return id{r.group.Name, ""}
	}
	return id{r.node.Cluster, r.node.Name}
}

// model is the view. Its methods make no request: what they need is in want, and a refresh
// brings it.
type model struct {
	ctx   context.Context
	src   Source
	name  string // in the headline
	color bool
	notes *Notes

	width, height int
	state         *state
	open          map[string]bool
	columns       map[string][]string
	sort          string
	filters       [2]string // of the list, and of the parameters of a node
	typing        bool      // a filter
	paused, help  bool

	cursor id   // a node, or a cluster with an empty node
	moved  bool // the user has pressed a key: the cursor stays on its row from then on
	at     int
	top    int // the first row on the screen
	rows   []row

	node    *id // that is open
	param   int // the row of its parameters
	nodeTop int

	chooser *chooser

	failed error // a panic, after which the view ends
	busy   bool  // a refresh is under way
	due    bool  // another one is wanted at once after it
}

// chooser is the list of parameters for the columns of a cluster.
type chooser struct {
	cluster string
	names   []string // nil until they are known
	chosen  []string
	at      int
}

func newModel(ctx context.Context, src Source, name string, color bool, notes *Notes) *model {
	return &model{
		ctx: ctx, src: src, name: name, color: color, notes: notes, width: 80, height: 24, state: &state{},
		open: make(map[string]bool), columns: make(map[string][]string),
	}
}

// refreshed is the message of a refresh that ended.
type refreshed struct {
	state *state
	next  time.Duration // until the next one
}

// tick is the message that a refresh is due.
type tick struct{}

// columnsOf is the message with the parameters of a cluster.
type columnsOf struct {
	cluster string
	names   []string
}

const (
	refreshEvery  = time.Second
	refreshAtMost = 5 * time.Second
	// refreshShare is the part of the time that a refresh may take: a source that is slow is
	// asked less often.
	refreshShare = 50
)

// Init implements [tea.Model].
func (m *model) Init() tea.Cmd { return m.refresh() }

// refresh returns the command that asks the source.
func (m *model) refresh() tea.Cmd {
	if m.busy {
		m.due = true
		return nil
	}
	m.busy, m.due = true, false
	ctx, src, last, w := m.ctx, m.src, m.state, m.want()
	return guarded(func() tea.Msg {
		begin := time.Now()
		s := refresh(ctx, src, last, w, begin)
		return refreshed{s, min(max(refreshShare*time.Since(begin), refreshEvery), refreshAtMost)}
	})
}

// panicked is the message of a command that panicked.
type panicked struct{ error }

// guarded returns a command that reports its panic as a message, so that the view ends as
// usual. The library closes the terminal on the command's goroutine instead, while another
// one still reads it.
func guarded(cmd tea.Cmd) tea.Cmd {
	return func() (msg tea.Msg) {
		defer func() {
			if r := recover(); r != nil {
				msg = panicked{fmt.Errorf("panic: %v\n%s", r, debug.Stack())}
			}
		}()
		return cmd()
	}
}

// want returns what the view needs now. The refresh, which runs meanwhile, gets copies.
func (m *model) want() *want {
	w := &want{open: make(map[string]bool), columns: make(map[string][]string), sorted: make(map[string]bool)}
	for k, v := range m.open {
		w.open[k] = v
	}
	for k, v := range m.columns {
		w.columns[k] = slices.Clone(v)
	}
	w.sparks, w.all = m.screen().layout(maxColumns).sparks, m.filters[0] != ""
	for _, r := range m.rows[min(m.top, len(m.rows)):min(m.top+m.height, len(m.rows))] {
		if r.node != nil {
			w.visible = append(w.visible, r.id())
		}
	}
	for i := range m.state.groups {
		g := &m.state.groups[i]
		w.sparks = max(w.sparks, m.screen().layout(len(g.columns)).sparks)
		w.sorted[g.Name] = slices.Contains(g.columns, m.sort)
	}
	if m.node != nil {
		w.node, w.visible = *m.node, nil
		params := m.params()
		for _, p := range params[min(m.nodeTop, len(params)):min(m.nodeTop+m.height, len(params))] {
			if p.Type != "string" {
				w.params = append(w.params, p.Name)
			}
		}
	}
	return w
}

// Update implements [tea.Model].
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(msg.Width, 1), max(msg.Height, 1)
		m.place()
		return m, m.refresh()
	case tick:
		if m.paused {
			return m, nil
		}
		return m, m.refresh()
	case refreshed:
		m.busy = false
		// Now it is known what is visible.
		first := msg.state.err == nil && (m.state.overview == nil || m.node != nil && m.state.params == nil)
		if !m.paused {
			m.state = msg.state
			m.place()
		}
		if m.due || first {
			return m, m.refresh()
		}
		if m.paused {
			return m, nil
		}
		return m, tea.Tick(msg.next, func(time.Time) tea.Msg { return tick{} })
	case panicked:
		m.failed = msg
		return m, tea.Quit
	case columnsOf:
		if c := m.chooser; c != nil && c.cluster == msg.cluster {
			c.names = msg.names
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// key handles a key.
func (m *model) key(msg tea.KeyPressMsg) tea.Cmd {
	k := msg.String()
	if k == "ctrl+c" {
		return tea.Quit
	}
	m.moved = true
	switch {
	case m.typing:
		return m.typeFilter(msg, k)
	case m.help:
		m.help = false
		if k == "q" {
			return tea.Quit
		}
		return nil
	case m.chooser != nil:
		return m.choose(k)
	}
	switch k {
	case "q":
		return tea.Quit
	case "?", "h":
		m.help = true
	case "/":
		m.typing = true
	case "p":
		if m.paused = !m.paused; !m.paused {
			return m.refresh()
		}
	case "up", "k":
		return m.move(-1)
	case "down", "j":
		return m.move(1)
	case "pgup", "ctrl+b":
		return m.move(-m.height / 2)
	case "pgdown", "ctrl+f":
		return m.move(m.height / 2)
	case "home", "g":
		return m.move(math.MinInt32)
	case "end", "G":
		return m.move(math.MaxInt32)
	case "enter", "right", "l", "space":
		return m.enter(k)
	case "esc", "left", "backspace":
		return m.leave()
	case "s":
		m.nextSort()
		m.place()
		return m.refresh()
	case "c":
		return m.startChooser()
	case "ctrl+z":
		return tea.Suspend
	}
	return nil
}

// typeFilter handles a key while the filter is typed.
func (m *model) typeFilter(msg tea.KeyPressMsg, k string) tea.Cmd {
	filter := m.filter()
	switch k {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, *filter = false, ""
	case "backspace":
		if r := []rune(*filter); len(r) > 0 {
			*filter = string(r[:len(r)-1])
		} else {
			m.typing = false
		}
	case "ctrl+u":
		*filter = ""
	default:
		if text := msg.Key().Text; text != "" && len(*filter)+len(text) <= 256 {
			*filter += text
		}
	}
	m.place()
	return m.refresh()
}

// filter returns the filter of the page.
func (m *model) filter() *string {
	if m.node != nil {
		return &m.filters[1]
	}
	return &m.filters[0]
}

// matches reports whether the filter of the page lets a name through: a pattern with * and ?, or without
// them a part of the name, regardless of case.
func (m *model) matches(name string) bool {
	filter := *m.filter()
	if filter == "" {
		return true
	}
	pattern, name := strings.ToLower(filter), strings.ToLower(name)
	if strings.ContainsAny(pattern, "*?") {
		return glob.Match(pattern, name)
	}
	return strings.Contains(name, pattern)
}

// move moves the cursor by so many rows.
func (m *model) move(by int) tea.Cmd {
	if m.node != nil {
		m.param = clamp(m.param+by, len(m.params()))
	} else {
		m.at = clamp(m.at+by, len(m.rows))
		if len(m.rows) > 0 {
			m.cursor = m.rows[m.at].id()
		}
	}
	top := m.top + m.nodeTop
	m.place()
	if m.top+m.nodeTop != top && !m.paused {
		return m.refresh()
	}
	return nil
}

func clamp(i, n int) int { return max(min(i, n-1), 0) }

// enter opens the node under the cursor, or opens or closes the cluster.
func (m *model) enter(k string) tea.Cmd {
	if m.node != nil || len(m.rows) == 0 {
		return nil
	}
	r := m.rows[m.at]
	if r.node == nil {
		m.open[r.group.Name] = r.group.nodes == nil || k == "right"
		return m.refresh()
	}
	n := r.id()
	m.node, m.param, m.nodeTop, m.filters[1] = &n, 0, 0, ""
	m.state.params, m.state.gone = nil, false
	return m.refresh()
}

// leave clears the filter, or closes the node, or the cluster under the cursor.
func (m *model) leave() tea.Cmd {
	switch {
	case *m.filter() != "":
		*m.filter() = ""
	case m.node != nil:
		m.node = nil
	case len(m.rows) > 0:
		r := m.rows[m.at]
		m.open[r.group.Name] = false
		m.cursor = id{r.group.Name, ""}
	}
	m.place()
	return m.refresh()
}

// nextSort takes the next order: by trouble, name, age, and each column of the cluster under
// the cursor.
func (m *model) nextSort() {
	orders := []string{byTrouble, byName, byAge}
	if g := m.group(); g != nil {
		orders = append(orders, g.columns...)
	}
	m.sort = orders[(slices.Index(orders, m.sort)+1)%len(orders)]
}

// group returns the cluster under the cursor.
func (m *model) group() *group {
	if len(m.rows) == 0 {
		return nil
	}
	return m.rows[m.at].group
}

// startChooser shows the parameters of the cluster under the cursor.
func (m *model) startChooser() tea.Cmd {
	g := m.group()
	if g == nil || g.nodes == nil || len(g.nodes) == 0 || m.node != nil {
		return nil
	}
	m.chooser = &chooser{cluster: g.Name, chosen: slices.Clone(g.columns)}
	ctx, src, cluster, node := m.ctx, m.src, g.Name, firstOf(g.nodes)
	return guarded(func() tea.Msg {
		l, err := src.Params(ctx, cluster, node, "")
		if err != nil {
			return columnsOf{cluster, []string{}}
		}
		names := []string{}
		for _, p := range l.Params {
			names = append(names, p.Name)
		}
		return columnsOf{cluster, names}
	})
}

// choose handles a key of the chooser.
func (m *model) choose(k string) tea.Cmd {
	c := m.chooser
	switch k {
	case "up", "k":
		c.at = clamp(c.at-1, len(c.names))
	case "down", "j":
		c.at = clamp(c.at+1, len(c.names))
	case "pgup":
		c.at = clamp(c.at-m.height/2, len(c.names))
	case "pgdown":
		c.at = clamp(c.at+m.height/2, len(c.names))
	case "space", "x":
		if len(c.names) == 0 {
			break
		}
		name := c.names[c.at]
		if i := slices.Index(c.chosen, name); i >= 0 {
			c.chosen = slices.Delete(c.chosen, i, i+1)
		} else if len(c.chosen) < maxColumns {
			c.chosen = append(c.chosen, name)
		}
	case "esc", "left", "q":
		m.chooser = nil
	case "enter", "c":
		m.columns[c.cluster] = c.chosen
		m.chooser = nil
		m.place()
		return m.refresh()
	}
	return nil
}

// place makes the rows of the state, keeps the cursor on its row, and scrolls so that it is
// visible.
func (m *model) place() {
	if m.node != nil { // the list stays as it was
		n := len(m.params())
		m.param = clamp(m.param, n)
		m.nodeTop = scroll(m.nodeTop, m.param, n, m.height-4)
		return
	}
	m.rows = m.rows[:0]
	for i := range m.state.groups {
		g := &m.state.groups[i]
		nodes := m.sorted(g)
		if m.filters[0] != "" && len(nodes) == 0 && !m.matches(g.Name) {
			continue
		}
		m.rows = append(m.rows, row{group: g})
		for _, n := range nodes {
			m.rows = append(m.rows, row{g, n})
		}
	}
	if i := slices.IndexFunc(m.rows, func(r row) bool { return r.id() == m.cursor }); i >= 0 {
		m.at = i
	}
	if !m.moved { // on the first node, which may be another one each time
		m.at, m.top = 1, 0
	}
	m.at = clamp(m.at, len(m.rows))
	if len(m.rows) > 0 {
		m.cursor = m.rows[m.at].id()
	}
	m.top = scroll(m.top, m.at, len(m.rows), m.room())
}

// scroll returns the first row on a screen of so many rows that shows the row at.
func scroll(top, at, n, height int) int {
	height = max(height, 1)
	if at < top {
		top = at
	}
	if at >= top+height {
		top = at - height + 1
	}
	return max(min(top, n-height), 0)
}

// sorted returns the nodes of a cluster that the filter lets through, in order.
func (m *model) sorted(g *group) []*dashboard.Node {
	var nodes []*dashboard.Node
	all := m.matches(g.Name) && !strings.ContainsAny(m.filters[0], "*?")
	for i := range g.nodes {
		if n := &g.nodes[i]; all || m.matches(n.Name) || m.matches(g.Name+"/"+n.Name) {
			nodes = append(nodes, n)
		}
	}
	trouble := func(n *dashboard.Node) int {
		return slices.Index([]string{dashboard.Failing, dashboard.Silent, dashboard.Live, dashboard.Ended}, n.State)
	}
	switch m.sort {
	case byName: // that of the group
	case byAge:
		slices.SortStableFunc(nodes, func(a, b *dashboard.Node) int { return b.LastHeard.Compare(a.LastHeard) })
	case byTrouble:
		slices.SortStableFunc(nodes, func(a, b *dashboard.Node) int { return cmp.Compare(trouble(a), trouble(b)) })
	default:
		number := func(n *dashboard.Node) float64 {
			if v, ok := m.state.values[cellID{id{n.Cluster, n.Name}, m.sort}]; ok && v.number == v.number {
				return v.number
			}
			return math.Inf(-1)
		}
		slices.SortStableFunc(nodes, func(a, b *dashboard.Node) int { return cmp.Compare(number(b), number(a)) })
	}
	return nodes
}

// params returns the parameters of the open node that the filter lets through.
func (m *model) params() []dashboard.Param {
	if m.filters[1] == "" {
		return m.state.params
	}
	var some []dashboard.Param
	for _, p := range m.state.params {
		if m.matches(p.Name) {
			some = append(some, p)
		}
	}
	return some
}

func (m *model) screen() *screen { return &screen{width: m.width, color: m.color} }

// View implements [tea.Model].
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.frame(), "\n"))
	v.AltScreen = true
	v.DisableBracketedPasteMode = true
	return v
}

// frame returns the lines of the screen.
func (m *model) frame() []string {
	s := m.screen()
	if m.width < minWidth || m.height < 6 {
		s.text(plain, fmt.Sprintf("needs %d columns and 6 lines", minWidth))
		return s.lines
	}
	mark := ""
	if m.paused {
		mark = "paused"
	}
	s.headline(m.state, m.name, mark)
	switch {
	case m.help:
		m.helpPage(s)
	case m.chooser != nil:
		m.chooserPage(s)
	case m.node != nil:
		m.nodePage(s)
	default:
		m.listPage(s)
	}
	s.lines = s.lines[:min(len(s.lines), m.height-1)]
	for len(s.lines) < m.height-1 {
		s.lines = append(s.lines, "")
	}
	m.foot(s)
	return s.lines
}

// troubles is the most lines of problems.
func (m *model) troubles() int { return max(m.height/5, 2) }

// room returns the lines of the list.
func (m *model) room() int {
	used := 3 // headline, blank, keys
	if m.state.err != nil {
		used++
	}
	if o := m.state.overview; o != nil && len(o.Problems) > 0 {
		used += min(len(o.Problems), m.troubles())
	}
	return max(m.height-used, 1)
}

// listPage adds the problems and the list of clusters and nodes.
func (m *model) listPage(s *screen) {
	s.problems(m.state, m.troubles())
	s.text(yellow, safe(m.notes.last(), m.width))
	for i := m.top; i < min(m.top+m.room(), len(m.rows)); i++ {
		r := m.rows[i]
		lay := s.layout(len(r.group.columns))
		if r.node == nil {
			s.clusterRow(r.group, lay, i == m.at, m.sort)
		} else {
			s.nodeRow(m.state, r.group, r.node, lay, i == m.at)
		}
	}
	if len(m.rows) == 0 && m.state.overview != nil {
		switch {
		case m.filters[0] != "":
			s.text(faint, "nothing matches the filter")
		default:
			s.text(faint, "nothing received yet")
		}
	}
}

// nodePage adds the parameters of the open node.
func (m *model) nodePage(s *screen) {
	l := s.line()
	l.add(bold, safe(m.node.cluster, m.width/3))
	l.add(faint, " / ")
	l.add(bold, safe(m.node.node, m.width/2))
	switch {
	case m.state.gone:
		l.add(yellow, "  it is gone")
	case m.state.params == nil:
		l.add(faint, "  …")
	default:
		l.add(faint, fmt.Sprintf("  %d parameters", len(m.state.params)))
	}
	s.put(l)
	s.text(plain, "")
	name := 12
	params := m.params()
	for i := range params {
		name = max(name, readable.Width(safe(params[i].Name, m.width*2/5)))
	}
	for i := m.nodeTop; i < min(m.nodeTop+m.height-4, len(params)); i++ {
		s.paramRow(m.state, &params[i], name, i == m.param)
	}
	if len(params) == 0 && m.filters[1] != "" {
		s.text(faint, "nothing matches the filter")
	}
}

// chooserPage adds the list of parameters that may be columns.
func (m *model) chooserPage(s *screen) {
	c := m.chooser
	l := s.line()
	l.add(bold, "Columns of ")
	l.add(bold, safe(c.cluster, m.width/2))
	l.add(faint, fmt.Sprintf("  at most %d", maxColumns))
	s.put(l)
	s.text(plain, "")
	switch {
	case c.names == nil:
		s.text(faint, "…")
	case len(c.names) == 0:
		s.text(faint, "no parameters")
	}
	top := scroll(0, c.at, len(c.names), m.height-4)
	for i := top; i < min(top+m.height-4, len(c.names)); i++ {
		l := s.line()
		style, mark := plain, "  "
		if i == c.at {
			style, mark = reverse, cursor+" "
		}
		box := "[ ] "
		if k := slices.Index(c.chosen, c.names[i]); k >= 0 {
			box = fmt.Sprintf("[%d] ", k+1)
		}
		l.add(style, mark+box+safe(c.names[i], m.width-6))
		s.put(l)
	}
}

// keys are those of the list, for the help.
var keys = [][2]string{
	{"↑ ↓ PgUp PgDn Home End", "move"},
	{"enter →", "open a node or a cluster"},
	{"esc ←", "back; close a cluster; clear the filter"},
	{"/", "filter names: a part of them, or a pattern with * and ?"},
	{"s", "sort: trouble first, by name, by age, by each column"},
	{"c", "choose the columns of a cluster"},
	{"p", "pause"},
	{"q Ctrl-C", "leave"},
}

func (m *model) helpPage(s *screen) {
	s.text(plain, "")
	for _, k := range keys {
		l := s.line()
		l.add(plain, "  ")
		l.left(bold, k[0], 24)
		l.add(plain, k[1])
		s.put(l)
	}
	s.text(plain, "")
	s.text(faint, "  ✕ failing   ! silent: not heard for three of its intervals   ✓ ended well")
	s.text(faint, "  A graph has the last 10 minutes. Ages are those of the last datagram.")
}

// foot adds the last line: the keys, or the filter that is typed.
func (m *model) foot(s *screen) {
	l := s.line()
	if m.typing {
		l.add(bold, "/"+safe(*m.filter(), m.width-30)+"_")
		l.add(faint, "  enter keep  esc clear")
		s.put(l)
		return
	}
	help := "↑↓ move  enter open  / filter  s sort  c columns  p pause  ? help  q quit"
	switch {
	case m.help:
		help = "any key back  q quit"
	case m.chooser != nil:
		help = "↑↓ move  space choose  enter take  esc back"
	case m.node != nil:
		help = "↑↓ move  esc back  / filter  p pause  ? help  q quit"
	}
	if filter := *m.filter(); filter != "" {
		l.add(bold, "/"+safe(filter, 20)+"  ")
	}
	if m.sort == byName && m.node == nil {
		l.add(bold, "by name  ")
	}
	l.add(faint, keysIn(help, s.width-l.n))
	s.put(l)
}

// keysIn leaves keys out until the others fit into width columns. The last ones, for help and to
// leave, stay longest.
func keysIn(help string, width int) string {
	keys := strings.Split(help, "  ")
	for len(keys) > 2 && readable.Width(strings.Join(keys, "  ")) > width {
		keys = slices.Delete(keys, len(keys)-3, len(keys)-2)
	}
	return strings.Join(keys, "  ")
}
