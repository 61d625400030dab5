package dashboard

import (
	"strconv"

	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// jsonValue returns the value of a parameter in the form that [xdr.Datagram.AppendJSON] has.
func jsonValue(p *xdr.Param) Value {
	switch p.Type() {
	case xdr.TypeString:
		return safetext.AppendJSON(nil, p.Text())
	case xdr.TypeInt32, xdr.TypeInt64:
		return strconv.AppendInt(nil, p.Int(), 10)
	}
	return safetext.AppendJSONFloat(nil, p.Float())
}

// plainValue returns all digits of a number, or the text.
func plainValue(p *xdr.Param) string {
	switch p.Type() {
	case xdr.TypeString:
		return p.Text()
	case xdr.TypeInt32, xdr.TypeInt64:
		return strconv.FormatInt(p.Int(), 10)
	}
	return string(safetext.AppendFloat(nil, p.Float()))
}

func isText(p *xdr.Param) bool { return p.Type() == xdr.TypeString }

// finite reports whether a value is a number that a graph can show.
func finite(p *xdr.Param) bool {
	v := p.Float()
	return !isText(p) && v-v == 0
}
