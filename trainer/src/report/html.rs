//! The pieces of a page that needs no other file: its style and its pictures are inside.

use std::fmt::Write;

const STYLE: &str = "
:root{--ink:#263238;--soft:#607d8b;--line:#dee2e6;--accent:#0072b2;--good:#00795a;--bad:#a8480a}
*{box-sizing:border-box}
body{margin:0;background:#f4f6f8;color:var(--ink);font:16px/1.55 'Noto Sans','Segoe UI',Roboto,Helvetica,Arial,sans-serif}
main{max-width:1040px;margin:0 auto;padding:40px 32px 80px;background:#fff}
h1{font-size:30px;margin:0 0 4px}h2{font-size:21px;margin:44px 0 12px;padding-top:14px;border-top:1px solid var(--line)}
p.lead{color:var(--soft);margin:0 0 20px}
table{border-collapse:collapse;margin:14px 0;font-variant-numeric:tabular-nums}
th,td{padding:6px 14px;border-bottom:1px solid var(--line);text-align:right}
th:first-child,td:first-child{text-align:left}
th{font-weight:600;color:var(--soft);font-size:14px;vertical-align:bottom}
small,.soft{color:var(--soft)}
.figures{display:flex;flex-wrap:wrap;gap:18px;margin:16px 0}
figure{margin:0;flex:1 1 300px;max-width:100%}figure img{width:100%;border:1px solid var(--line);border-radius:6px}
figcaption{color:var(--soft);font-size:14px;margin-top:4px}
.tiles{display:flex;flex-wrap:wrap;gap:14px;margin:18px 0}
.tile{flex:1 1 170px;border:1px solid var(--line);border-radius:8px;padding:12px 16px}
.tile b{display:block;font-size:26px}.tile span{color:var(--soft);font-size:14px}
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
.wide{overflow-x:auto}
";

/// A page that grows from top to bottom.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Plain text.
    Text(String),
    /// A value with its interval in small print.
    Value(String, String),
    /// A verdict: held or not.
    Verdict(bool, String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Page {
    /// A page with a heading and a line under it.
    pub fn new(title: &str, lead: &str) -> Self {
        let body = format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n", escape(title), escape(lead));
        Self {
            title: title.to_owned(),
            body,
        }
    }

    /// A heading of a section.
    pub fn section(&mut self, heading: &str) {
        self.push(format_args!("<h2>{}</h2>\n", escape(heading)));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.push(format_args!("<p>{}</p>\n", escape(text)));
    }

    /// A paragraph that must not be overlooked.
    pub fn warning(&mut self, text: &str) {
        self.push(format_args!("<p class=\"bad\">{}</p>\n", escape(text)));
    }

    /// Large figures in a row: (value, what it is).
    pub fn tiles(&mut self, tiles: &[(String, String)]) {
        self.body.push_str("<div class=\"tiles\">");
        for (value, name) in tiles {
            self.push(format_args!(
                "<div class=\"tile\"><b>{}</b><span>{}</span></div>",
                escape(value),
                escape(name)
            ));
        }
        self.body.push_str("</div>\n");
    }

    /// A table with its heads.
    pub fn table(&mut self, heads: &[&str], rows: &[Vec<Cell>]) {
        self.body.push_str("<div class=\"wide\"><table><tr>");
        for head in heads {
            self.push(format_args!("<th>{}</th>", escape(head)));
        }
        self.body.push_str("</tr>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for cell in row {
                self.push(format_args!("<td>{}</td>", cell.html()));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</table></div>\n");
    }

    /// Pictures side by side: (PNG bytes, caption).
    pub fn pictures(&mut self, pictures: &[(Vec<u8>, String)]) {
        self.body.push_str("<div class=\"figures\">");
        for (png, caption) in pictures {
            let data = base64(png);
            let caption = escape(caption);
            self.push(format_args!(
                "<figure><img alt=\"{caption}\" src=\"data:image/png;base64,{data}\"><figcaption>{caption}</figcaption></figure>"
            ));
        }
        self.body.push_str("</div>\n");
    }

    /// The whole page.
    pub fn finish(self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{}</title><style>{STYLE}</style></head>\n<body><main>\n{}</main></body></html>\n",
            escape(&self.title),
            self.body
        )
    }

    fn push(&mut self, piece: std::fmt::Arguments<'_>) {
        // Writing into a String cannot fail.
        let _ = self.body.write_fmt(piece);
    }
}

impl Cell {
    fn html(&self) -> String {
        match self {
            Self::Text(text) => escape(text),
            Self::Value(value, interval) => format!("{}<br><small>{}</small>", escape(value), escape(interval)),
            Self::Verdict(true, text) => format!("<span class=\"good\">✓ {}</span>", escape(text)),
            Self::Verdict(false, text) => format!("<span class=\"bad\">✗ {}</span>", escape(text)),
        }
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// RFC 4648, section 4, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0_u32, |group, (at, &byte)| group | u32::from(byte) << (16 - 8 * at));
        for letter in 0..4 {
            let index = (group >> (18 - 6 * letter)) & 63;
            text.push(if letter <= chunk.len() {
                ALPHABET[index as usize] as char
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn base64_gives_the_standards_vectors() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn what_comes_from_data_is_escaped() {
        let mut page = Page::new("a<b", "x & y");
        page.table(&["label"], &[vec!["<script>".into()]]);
        let html = page.finish();
        assert!(html.contains("a&lt;b") && html.contains("&lt;script&gt;") && !html.contains("<script>"));
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        let mut page = Page::new("a", "b");
        page.pictures(&[(vec![1, 2, 3], "plot".into())]);
        let html = page.finish();
        assert!(html.contains("data:image/png;base64,AQID") && !html.contains("http"));
    }
}
