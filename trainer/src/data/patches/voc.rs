//! Annotations in the XML of Pascal VOC (Everingham et al. 2010, doi 10.1007/s11263-009-0275-4), as LabelImg and other
//! programs write them.

use roxmltree::{Document, Node};

use super::region::Region;

/// What an annotation says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotation {
    /// Width and height of the image that was annotated; 0 where the file does not say.
    pub size: [usize; 2],
    /// One region an object, with the object's name.
    pub objects: Vec<(String, Region)>,
}

/// Reads the text of an annotation. Pixels count from 1 there, and from 0 in a [`Region`].
///
/// # Errors
/// What is wrong with the text: it is no XML, no annotation, or a box lacks a side.
pub fn parse(text: &str) -> Result<Annotation, String> {
    let document = Document::parse(text).map_err(|error| format!("no XML: {error}"))?;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        let found = root.tag_name().name();
        return Err(format!(
            "begins with <{found}>, an annotation of Pascal VOC with <annotation>"
        ));
    }
    let size = child(root, "size").map_or(Ok([0, 0]), |size| {
        Ok::<_, String>([number(size, "width")?, number(size, "height")?])
    })?;
    let objects = root.children().filter(|node| node.has_tag_name("object"));
    let objects = objects
        .enumerate()
        .map(|(index, object)| read_object(object).map_err(|reason| format!("object {}: {reason}", index + 1)));
    Ok(Annotation {
        size,
        objects: objects.collect::<Result<_, _>>()?,
    })
}

fn read_object(object: Node<'_, '_>) -> Result<(String, Region), String> {
    let name = child(object, "name")
        .and_then(|name| name.text())
        .map(str::trim)
        .unwrap_or_default();
    if name.is_empty() {
        return Err("has no <name>, which becomes the label".to_owned());
    }
    let bounds = child(object, "bndbox").ok_or("has no <bndbox>")?;
    // Some programs count from 0 all the same.
    let side = |name: &str| Ok::<_, String>(number(bounds, name)?.saturating_sub(1));
    let region = Region {
        xmin: side("xmin")?,
        ymin: side("ymin")?,
        xmax: side("xmax")?,
        ymax: side("ymax")?,
    };
    Ok((name.to_owned(), region))
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// Some programs write fractions.
fn number(node: Node<'_, '_>, name: &str) -> Result<usize, String> {
    let text = child(node, name).and_then(|child| child.text()).map(str::trim);
    let parsed: Option<f64> = text.and_then(|text| text.parse().ok());
    match parsed.filter(|value| (0.0..=65535.0).contains(value)) {
        Some(value) => Ok(value.round() as usize),
        None => Err(format!(
            "<{name}> is `{}`; allowed: a number from 0 to 65535",
            text.unwrap_or("missing")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_names_and_boxes_are_read() {
        let text = "<annotation><size><width>20</width><height>10</height></size>\
                    <object><name> A </name><bndbox><ymin>2</ymin><xmin>1</xmin><ymax>4.0</ymax><xmax>7</xmax></bndbox></object>\
                    <object><name>B</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>20</xmax><ymax>10</ymax></bndbox></object>\
                    </annotation>";
        let annotation = parse(text).unwrap();
        assert_eq!(annotation.size, [20, 10]);
        let region = |[xmin, ymin, xmax, ymax]: [usize; 4]| Region { xmin, ymin, xmax, ymax };
        assert_eq!(annotation.objects[0], ("A".to_owned(), region([0, 1, 6, 3])));
        assert_eq!(annotation.objects[1], ("B".to_owned(), region([0, 0, 19, 9])));
        assert!(parse("<annotation/>").unwrap().objects.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refusal = |text: &str| parse(text).unwrap_err();
        assert!(refusal("path,label").contains("no XML"));
        assert!(refusal("<svg/>").contains("<svg>"));
        assert!(refusal("<annotation><object/></annotation>").contains("object 1: has no <name>"));
        let half = "<annotation><object><name>A</name><bndbox><xmin>1</xmin></bndbox></object></annotation>";
        assert!(refusal(half).contains("<ymin> is `missing`"), "{}", refusal(half));
        let text = half.replace("<xmin>1<", "<xmin>left<");
        assert!(refusal(&text).contains("<xmin> is `left`"));
        // No entity of a DTD is expanded.
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bb\">]><annotation>&b;</annotation>";
        assert!(refusal(bomb).contains("no XML"));
    }
}
