"""Symbols of funds. A fund replaces holdings that are delisted, so it lacks the survivorship bias of a single stock.

What can go wrong: a doubt about survivorship bias is raised for funds, or not raised for stocks. So funds are listed.
Rejected: to recognise funds by their volatility, because quiet stocks and volatile funds exist.
"""

from typing import Final

_SYMBOLS_BY_GROUP: Final = {
    "broad markets, styles and sizes": (
        "SPY IVV VOO SPLG RSP QQQ QQQM DIA VTI ITOT SCHB IWM IWB IWV IWD IWF IWN IWO IWR IWS IWP IJH IJR IJJ IJK "
        "IJS IJT MDY VB VBR VBK VO VOE VOT VTV VUG VIG VYM VONE SCHX SCHA SCHD SCHV SCHG SDY DVY HDV NOBL USMV MTUM "
        "QUAL VLUE SIZE SPLV SPHB SPHD OEF XLG MGK MGV"
    ),
    "sectors and industries": (
        "XLB XLC XLE XLF XLI XLK XLP XLRE XLU XLV XLY VAW VCR VDC VDE VFH VGT VHT VIS VNQ VNQI VOX VPU IYR IYE IYF "
        "IYH IYJ IYK IYM IYT IYW IYZ ICF RWR SMH SOXX XBI IBB XOP XME XHB XRT KRE KBE ITB ITA IGV FDN OIH GDX GDXJ "
        "SIL ARKK TAN ICLN"
    ),
    "other countries": (
        "EFA IEFA VEA SCHF EEM IEMG VWO SCHE VXUS IXUS VEU VT ACWI URTH EWA EWC EWD EWG EWH EWI EWJ EWL EWM EWN EWP "
        "EWQ EWS EWT EWU EWW EWY EWZ EZA EZU FEZ FXI MCHI INDA ASHR RSX VGK VPL IEV ILF AAXJ"
    ),
    "bonds and money": (
        "AGG BND BNDX BNDW TLT TLH IEF IEI SHY SHV BIL SGOV GOVT VGSH VGIT VGLT EDV ZROZ TIP VTIP SCHP STIP LQD "
        "VCIT VCSH VCLT IGIB IGSB HYG JNK SJNK USHY EMB VWOB PCY MUB VTEB MBB VMBS FLOT BKLN MINT JPST"
    ),
    "commodities, currencies, volatility": (
        "GLD IAU GLDM SLV PPLT PALL DBC GSG PDBC USO BNO UNG DBA DBB CORN WEAT SOYB CPER UUP FXE FXY FXB FXA FXC "
        "FXF VXX UVXY VIXY SVXY"
    ),
    "leveraged and inverse, coins": (
        "SSO UPRO SDS SPXU SH QLD TQQQ SQQQ PSQ TMF TBT UBT TNA TZA SOXL SOXS FAS FAZ IBIT FBTC GBTC BITO ETHA ETHE"
    ),
    "world-wide funds of London and Frankfurt": ("VWRL VWCE VUSA VUAA CSPX SWDA IWDA EUNL EIMI VFEM"),
}

FUNDS: Final = frozenset(symbol for group in _SYMBOLS_BY_GROUP.values() for symbol in group.split())
"""The commonest funds. A fund that is missing here counts as a stock."""

_COMMODITIES_AND_COINS: Final = "GLD IAU GLDM SLV PPLT PALL DBC USO BNO UNG CORN WEAT SOYB CPER IBIT FBTC GBTC"

PAYS_NONE: Final = frozenset(_COMMODITIES_AND_COINS.split())
"""Funds that pay no dividends."""
