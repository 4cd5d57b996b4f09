# Ratios of best units, widebatch to peer, with the targets: ratios.txt of `folder` to ratios.svg.
set terminal svg size 900,480 font "sans,13" background "white"
set output folder."/ratios.svg"
set logscale x 2
set xrange [0.5:128]
set xlabel "times the peer's rate (log scale)"
set title "diamonds: what was aimed at"
set rmargin 4
set grid xtics lc rgb "#dddddd"
set border 3
set tics nomirror out
set yrange [-0.6:*]
set style fill solid 0.8 noborder
set arrow from 1,graph 0 to 1,graph 1 nohead lc rgb "#888888"
unset key
plot folder."/ratios.txt" using (0.5):1:(0.5):2:($1-0.32):($1+0.32):ytic(4) with boxxyerror lc rgb "#3b6ea8", \
     '' using ($3 > 0 ? $3 : NaN):1 with points pt 13 ps 1.2 lc rgb "#d05a2a", \
     '' using ($3 > $2 ? $3 : $2):1:(sprintf("%.2f", $2)) with labels left offset 1.5,0
