"""The mark that a machine made a picture: IPTC's DigitalSourceType in an XMP packet.

The European Union's AI Act (Regulation 2024/1689, article 50) asks for a mark that machines read. Picture
libraries, search engines and social networks read this one; its words are defined in
https://cv.iptc.org/newscodes/digitalsourcetype/.
"""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import quoteattr

XMP_KEYWORD: Final = "XML:com.adobe.xmp"
"""Keyword of the PNG chunk iTXt that holds an XMP packet (XMP specification, part 3, section 1.1.5)."""
_VOCABULARY: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
PAINTED: Final = _VOCABULARY + "trainedAlgorithmicMedia"
"""Made by a trained model alone."""
COMPOSED: Final = _VOCABULARY + "compositeWithTrainedAlgorithmicMedia"
"""Put together of pictures by a trained model and of other parts, such as text."""


def xmp_packet(source_type: str = PAINTED) -> str:
    """Return the XMP packet with this DigitalSourceType. Equal types give equal packets, since it holds no date."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(source_type)}/>"
        "</rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    )
